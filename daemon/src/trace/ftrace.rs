//! The kernel's own events, recorded by tracefs in an instance of our own: nobody else's tracing is
//! disturbed, and nothing stays.

use super::dat;
use crate::{
    doctor::detached::Detached,
    error::{Error, Result},
    mount::table::Mount,
    signals::Signals,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Pid,
};
use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Write as _},
    path::Path,
    time::Duration,
};

/// KiB of the buffer of each CPU. When it is full the oldest events make room.
const BUFFER_KIB: u32 = 16 << 10;
/// Threads of the daemon that are told apart by number: as many as a filter takes.
const THREADS_MAX: usize = 64;

/// Events, and what is recorded of them.
const EVENTS: [(&str, Of); 6] = [
    ("fuse/fuse_request_send", Of::Mount),
    ("fuse/fuse_request_end", Of::Mount),
    ("io_uring/io_uring_complete", Of::Daemon),
    ("io_uring/io_uring_submit_req", Of::Daemon),
    ("sched/sched_switch", Of::Switches),
    ("sched/sched_waking", Of::Wakeups),
];

/// Which of an event are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Of {
    /// Those about the mount's connection.
    Mount,
    /// Those in a thread of the daemon.
    Daemon,
    /// Those from or to a thread of the daemon.
    Switches,
    /// Those of a thread of the daemon.
    Wakeups,
}

/// Records until a signal comes or the time is up, and writes what there is to `file`. Returns what was
/// recorded, in words.
///
/// # Errors
///
/// No tracefs, or not for this user; a file that cannot be written.
pub fn record(
    mount: &Mount,
    daemon: Pid,
    signals: &Signals,
    time: Option<Duration>,
    file: &Path,
) -> Result<String> {
    let cannot_write = |error| Error::path("cannot write", file, error);
    let mut output = BufWriter::new(File::create(file).map_err(cannot_write)?);
    let instance = Instance::start(mount, daemon)?;
    eprintln!("recording {}; Ctrl-C ends it", mount.mountpoint.display());
    let time = time.map(|time| Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    });
    // Whether it was the time or a signal is all the same.
    let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], time.as_ref());
    instance.stop()?;
    let is_dat = file.extension().is_some_and(|extension| extension == "dat");
    let recorded = if is_dat {
        let cpus =
            dat::write(&instance.tracefs, &instance.folder, &mut output).map_err(cannot_write)?;
        format!("events of {cpus} CPUs, for trace-cmd report -i")
    } else {
        let events = instance.write_text(&mut output).map_err(cannot_write)?;
        format!("{events} events as text, for ui.perfetto.dev or a pager")
    };
    output.flush().map_err(cannot_write)?;
    Ok(recorded)
}

/// A buffer of tracefs with events of its own; removed when dropped.
struct Instance {
    tracefs: Detached,
    folder: String,
}

impl Instance {
    fn start(mount: &Mount, daemon: Pid) -> Result<Self> {
        let tracefs = Detached::of("tracefs").map_err(|errno| {
            Error::system("cannot use tracefs", errno)
                .with_remedy("be root, on a kernel with CONFIG_FTRACE (shmfuse doctor)")
        })?;
        let cannot = |error| {
            Error::system("cannot record events", error)
                .with_remedy("shmfuse doctor says what there is")
        };
        let folder = format!("instances/shmfuse-{}", std::process::id());
        tracefs.make_directory(&folder).map_err(cannot)?;
        let instance = Self { tracefs, folder };
        instance
            .set("buffer_size_kb", &BUFFER_KIB.to_string())
            // One clock for all CPUs, the same as that of `shmfuse trace`.
            .and_then(|()| instance.set("trace_clock", "mono"))
            .map_err(cannot)?;
        let threads = threads(daemon);
        for (event, of) in EVENTS {
            let folder = format!("events/{event}");
            instance
                .set(&format!("{folder}/filter"), &of.filter(mount, &threads))
                .and_then(|()| instance.set(&format!("{folder}/enable"), "1"))
                .map_err(cannot)?;
        }
        Ok(instance)
    }

    fn set(&self, path: &str, value: &str) -> io::Result<()> {
        self.tracefs
            .write(&format!("{}/{path}", self.folder), value)
    }

    fn stop(&self) -> Result<()> {
        self.set("tracing_on", "0")
            .map_err(|error| Error::system("cannot stop the recording", error))
    }

    /// Writes the events as text, and returns how many there are.
    fn write_text(&self, output: &mut impl io::Write) -> io::Result<usize> {
        let mut text = String::new();
        let mut trace = self.tracefs.open(&format!("{}/trace", self.folder))?;
        trace.read_to_string(&mut text)?;
        output.write_all(text.as_bytes())?;
        Ok(text.lines().filter(|line| !line.starts_with('#')).count())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.tracefs.remove_directory(&self.folder) {
            tracing::warn!("cannot remove {} of tracefs: {error}", self.folder);
        }
    }
}

impl Of {
    /// As Documentation/trace/events.rst has it, "Event filtering".
    fn filter(self, mount: &Mount, threads: &[u32]) -> String {
        let any = |field: &str| {
            let of = |thread: &u32| format!("{field} == {thread}");
            threads.iter().map(of).collect::<Vec<_>>().join(" || ")
        };
        match self {
            Self::Mount => format!("connection == {}", mount.device.minor),
            Self::Daemon => any("common_pid"),
            Self::Switches => format!("{} || {}", any("prev_pid"), any("next_pid")),
            Self::Wakeups => any("pid"),
        }
    }
}

/// The daemon's threads: at least the process itself.
fn threads(daemon: Pid) -> Vec<u32> {
    let pid = daemon.as_raw_nonzero().get() as u32;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut threads: Vec<u32> = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .take(THREADS_MAX)
        .collect();
    if threads.is_empty() {
        threads.push(pid);
    }
    threads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_the_mount_or_every_thread() {
        let mount = Mount {
            id: 1,
            parent: 0,
            device: crate::mount::table::DeviceNumber {
                major: 0,
                minor: 77,
            },
            mountpoint: "/m".into(),
            fs_type: "fuse.shmfuse".into(),
            source: "l".into(),
        };
        assert_eq!(Of::Mount.filter(&mount, &[1]), "connection == 77");
        let daemon = Of::Daemon.filter(&mount, &[1, 2]);
        assert_eq!(daemon, "common_pid == 1 || common_pid == 2");
        let switches = Of::Switches.filter(&mount, &[3]);
        assert_eq!(switches, "prev_pid == 3 || next_pid == 3");
    }
}
