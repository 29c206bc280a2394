//! The file that trace-cmd reads, in version 6 of its format (trace-cmd.dat.v6(5)): what describes the
//! events, then the pages of the ring buffers as the kernel has them.

use crate::doctor::detached::Detached;
use std::io::{self, Read as _, Write};

const MAGIC: &[u8] = b"\x17\x08\x44tracing6\0";

/// Writes what an instance of tracefs, which records no more, holds; returns the number of CPUs.
pub(super) fn write(
    tracefs: &Detached,
    instance: &str,
    output: &mut impl Write,
) -> io::Result<usize> {
    let page = rustix::param::page_size();
    let mut head = Vec::from(MAGIC);
    head.push(u8::from(cfg!(target_endian = "big")));
    head.push(size_of::<usize>() as u8);
    head.extend((page as u32).to_ne_bytes());
    for name in ["header_page", "header_event"] {
        head.extend(name.as_bytes());
        head.push(0);
        put(&mut head, &tracefs.read(&format!("events/{name}"))?);
    }
    let ftrace = formats(tracefs, "ftrace")?;
    head.extend((ftrace.len() as u32).to_ne_bytes());
    ftrace.iter().for_each(|format| put(&mut head, format));
    // Groups of events that this records.
    let groups = ["fuse", "io_uring", "sched"];
    head.extend((groups.len() as u32).to_ne_bytes());
    for group in groups {
        let formats = formats(tracefs, group)?;
        head.extend(group.as_bytes());
        head.push(0);
        head.extend((formats.len() as u32).to_ne_bytes());
        formats.iter().for_each(|format| put(&mut head, format));
    }
    // Neither kernel symbols nor formats of trace_printk: no event here needs them.
    head.extend([0; 8]);
    put(&mut head, &tracefs.read("saved_cmdlines")?);

    let buffers = buffers(tracefs, instance, page)?;
    head.extend((buffers.len() as u32).to_ne_bytes());
    // No options: two bytes that end their list.
    head.extend(b"options  \0\0\0flyrecord\0");
    let table = buffers.len() * 16;
    let mut at = (head.len() + table).next_multiple_of(page);
    let data = at;
    for buffer in &buffers {
        head.extend((at as u64).to_ne_bytes());
        head.extend((buffer.len() as u64).to_ne_bytes());
        at += buffer.len();
    }
    head.resize(data, 0);
    output.write_all(&head)?;
    buffers
        .iter()
        .try_for_each(|buffer| output.write_all(buffer))?;
    Ok(buffers.len())
}

/// Appends a text with its length before it.
fn put(head: &mut Vec<u8>, text: &str) {
    head.extend((text.len() as u64).to_ne_bytes());
    head.extend(text.as_bytes());
}

/// The descriptions of a group's events.
fn formats(tracefs: &Detached, group: &str) -> io::Result<Vec<String>> {
    let names = tracefs.list(&format!("events/{group}"))?;
    Ok(names
        .iter()
        // What is no event, such as the group's `enable`, has none.
        .filter_map(|name| tracefs.read(&format!("events/{group}/{name}/format")).ok())
        .collect())
}

/// The pages of each CPU's ring buffer, each filled up to a whole page.
fn buffers(tracefs: &Detached, instance: &str, page: usize) -> io::Result<Vec<Vec<u8>>> {
    let folder = format!("{instance}/per_cpu");
    let mut cpus: Vec<usize> = tracefs
        .list(&folder)?
        .iter()
        .filter_map(|name| name.strip_prefix("cpu")?.parse().ok())
        .collect();
    cpus.sort_unstable();
    let read = |cpu: &usize| {
        let mut file = tracefs.open(&format!("{folder}/cpu{cpu}/trace_pipe_raw"))?;
        let (mut pages, mut one) = (Vec::new(), vec![0; page]);
        loop {
            one.fill(0);
            match file.read(&mut one) {
                Ok(0) => return Ok(pages),
                Ok(_) => pages.extend(&one),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(pages),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    cpus.iter().map(read).collect()
}
