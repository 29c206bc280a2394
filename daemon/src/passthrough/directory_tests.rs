//! Listings: complete, exact from any offset, and counted.

use super::testing::{Scratch, places};
use crate::{
    config::{CachePolicy, DataChoice},
    fuse::{Errno, FileSystem, testing::FakeExchange},
};
use std::{collections::BTreeSet, fs, os::unix::fs::DirEntryExt, time::Duration};
use transport::wire::*;

/// One entry of a listing.
#[derive(Clone, Debug)]
struct Listed {
    name: String,
    off: u64,
    ino: u64,
    nodeid: u64,
}

fn opendir(scratch: &mut Scratch, nodeid: u64) -> OpenOut {
    let request = FakeExchange::new(Opcode::OPENDIR, nodeid).arg(&OpenIn::default());
    scratch.ask_for(request).unwrap()
}

fn releasedir(scratch: &mut Scratch, nodeid: u64, fh: u64) -> Result<(), Errno> {
    let arg = ReleaseIn {
        fh,
        ..ReleaseIn::default()
    };
    scratch
        .ask(FakeExchange::new(Opcode::RELEASEDIR, nodeid).arg(&arg))
        .map(drop)
}

fn read(
    scratch: &mut Scratch,
    opcode: Opcode,
    (nodeid, fh): (u64, u64),
    offset: u64,
    size: u32,
) -> Result<Vec<Listed>, Errno> {
    let arg = ReadIn {
        fh,
        offset,
        size,
        ..ReadIn::default()
    };
    let body = scratch.ask(FakeExchange::new(opcode, nodeid).arg(&arg))?;
    assert!(body.len() <= size as usize);
    let mut rest = &body[..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let mut listed_nodeid = 0;
        let mut plus = 0;
        if opcode == Opcode::READDIRPLUS {
            plus = size_of::<EntryOut>();
            let entry: EntryOut = bytemuck::pod_read_unaligned(&rest[..plus]);
            listed_nodeid = entry.nodeid;
        }
        let head: Dirent = bytemuck::pod_read_unaligned(&rest[plus..plus + size_of::<Dirent>()]);
        let name = &rest[plus + size_of::<Dirent>()..][..head.namelen as usize];
        all.push(Listed {
            name: String::from_utf8(name.to_vec()).unwrap(),
            off: head.off,
            ino: head.ino,
            nodeid: listed_nodeid,
        });
        rest = &rest[plus + Dirent::padded_len(name.len())..];
    }
    Ok(all)
}

/// All of a directory, as an application that reads with buffers of `size` sees it.
fn list(scratch: &mut Scratch, opcode: Opcode, nodeid: u64, size: u32) -> Vec<Listed> {
    let fh = opendir(scratch, nodeid).fh;
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let offset = all.last().map_or(0, |last| last.off);
        let more = read(scratch, opcode, (nodeid, fh), offset, size).unwrap();
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    releasedir(scratch, nodeid, fh).unwrap();
    all
}

fn names(listed: &[Listed]) -> BTreeSet<&str> {
    listed.iter().map(|entry| entry.name.as_str()).collect()
}

fn fill(scratch: &Scratch, count: usize) {
    for n in 0..count {
        // Lengths vary, so that pages end anywhere.
        let name = format!("{n:04}{}", "x".repeat(n % 60));
        fs::write(scratch.lower(&name), b"").unwrap();
    }
}

#[test]
fn a_listing_is_what_readdir_tells_whatever_the_buffer() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fill(&scratch, 700);
        let direct: BTreeSet<(String, u64)> = fs::read_dir(scratch.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.ino()))
            .collect();
        for opcode in [Opcode::READDIR, Opcode::READDIRPLUS] {
            for size in [300, 4096, 65_536, 1 << 20] {
                let listed = list(&mut scratch, opcode, ROOT_ID, size);
                assert_eq!(listed.len(), 702);
                let seen: BTreeSet<(String, u64)> = listed
                    .iter()
                    .filter(|entry| entry.name != "." && entry.name != "..")
                    .map(|entry| (entry.name.clone(), entry.ino))
                    .collect();
                assert_eq!(seen, direct, "{opcode} {size} in {place:?}");
            }
        }
    }
}

#[test]
fn reading_goes_on_exactly_behind_any_entry() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        // More than one buffer of the lower directory.
        fill(&scratch, 1500);
        let all = list(&mut scratch, Opcode::READDIR, ROOT_ID, 1 << 20);
        let fh = opendir(&mut scratch, ROOT_ID).fh;
        // Forwards, backwards, within what is buffered and beyond it.
        for at in [1499, 3, 0, 1000, 1001, 900, 2, 1501, 1] {
            let offset = all[at].off;
            let rest = read(&mut scratch, Opcode::READDIR, (ROOT_ID, fh), offset, 8192).unwrap();
            let expected: Vec<&str> = all[at + 1..].iter().map(|e| e.name.as_str()).collect();
            let rest: Vec<&str> = rest.iter().map(|e| e.name.as_str()).collect();
            assert_eq!(rest[..], expected[..rest.len()]);
            assert!(!rest.is_empty() || expected.is_empty());
        }
    }
}

#[test]
fn going_back_to_the_start_shows_what_is_new() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fill(&scratch, 3);
        let fh = opendir(&mut scratch, ROOT_ID).fh;
        let before = read(&mut scratch, Opcode::READDIR, (ROOT_ID, fh), 0, 4096).unwrap();
        fs::write(scratch.lower("new"), b"").unwrap();
        fs::remove_file(scratch.lower("0000")).unwrap();
        let after = read(&mut scratch, Opcode::READDIR, (ROOT_ID, fh), 0, 4096).unwrap();
        assert!(names(&before).contains("0000") && !names(&before).contains("new"));
        assert!(!names(&after).contains("0000") && names(&after).contains("new"));
    }
}

#[test]
fn entries_are_counted_once_each_and_dots_never() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fill(&scratch, 300);
        fs::create_dir(scratch.lower("d")).unwrap();
        let listed = list(&mut scratch, Opcode::READDIRPLUS, ROOT_ID, 4096);
        assert_eq!(listed.len(), 303);
        assert_eq!(scratch.fs.inode_count(), 302);
        for entry in &listed {
            if entry.name == "." || entry.name == ".." {
                assert_eq!(entry.nodeid, 0);
            } else {
                assert_eq!(scratch.fs.inodes.nlookup(entry.nodeid), 1);
            }
        }
        let again = list(&mut scratch, Opcode::READDIRPLUS, ROOT_ID, 1 << 20);
        for entry in again.iter().filter(|entry| entry.nodeid != 0) {
            assert_eq!(scratch.fs.inodes.nlookup(entry.nodeid), 2);
            scratch.fs.forget(entry.nodeid, 2);
        }
        assert_eq!(scratch.fs.inode_count(), 1);
        list(&mut scratch, Opcode::READDIR, ROOT_ID, 4096);
        assert_eq!(scratch.fs.inode_count(), 1);
    }
}

#[test]
fn a_buffer_too_small_for_one_entry_is_an_error_not_the_end() {
    let mut scratch = Scratch::new(&places()[0]);
    fill(&scratch, 10);
    let fh = opendir(&mut scratch, ROOT_ID).fh;
    for opcode in [Opcode::READDIR, Opcode::READDIRPLUS] {
        let result = read(&mut scratch, opcode, (ROOT_ID, fh), 0, 24);
        assert_eq!(result.unwrap_err(), Errno::INVAL);
    }
    assert_eq!(scratch.fs.inode_count(), 1);
}

#[test]
fn handles_of_directories_end() {
    let mut scratch = Scratch::new(&places()[0]);
    let fh = opendir(&mut scratch, ROOT_ID).fh;
    let fsync = |fsync_flags| {
        let arg = FsyncIn {
            fh,
            fsync_flags,
            padding: 0,
        };
        FakeExchange::new(Opcode::FSYNCDIR, ROOT_ID).arg(&arg)
    };
    scratch.ask(fsync(FsyncFlags::empty())).unwrap();
    scratch.ask(fsync(FsyncFlags::FDATASYNC)).unwrap();
    releasedir(&mut scratch, ROOT_ID, fh).unwrap();
    assert_eq!(releasedir(&mut scratch, ROOT_ID, fh), Err(Errno::BADF));
    let gone = read(&mut scratch, Opcode::READDIR, (ROOT_ID, fh), 0, 4096);
    assert_eq!(gone.unwrap_err(), Errno::BADF);
    fs::write(scratch.lower("f"), b"").unwrap();
    let file = scratch.lookup("f");
    let request = FakeExchange::new(Opcode::OPENDIR, file).arg(&OpenIn::default());
    assert_eq!(scratch.ask(request).unwrap_err(), Errno::NOTDIR);
}

#[test]
fn a_removed_directory_that_is_open_is_empty() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::create_dir(scratch.lower("d")).unwrap();
        let dir = scratch.lookup("d");
        let fh = opendir(&mut scratch, dir).fh;
        scratch
            .ask(FakeExchange::new(Opcode::RMDIR, ROOT_ID).name("d"))
            .unwrap();
        let direct = {
            let twin = scratch.lower("twin");
            fs::create_dir(&twin).unwrap();
            let open = fs::File::open(&twin).unwrap();
            fs::remove_dir(&twin).unwrap();
            let mut buffer = [0; 1024];
            super::sys::getdents64(std::os::fd::AsFd::as_fd(&open), &mut buffer)
        };
        let listed = read(&mut scratch, Opcode::READDIR, (dir, fh), 0, 4096);
        assert_eq!(listed.map(|l| l.len()), direct);
    }
}

#[test]
fn the_kernel_keeps_listings_only_where_it_may_believe_attributes() {
    let place = &places()[0];
    let mut strict = Scratch::new(place);
    assert_eq!(
        opendir(&mut strict, ROOT_ID).open_flags,
        FopenFlags::empty()
    );
    let ttl = CachePolicy::Ttl(Duration::from_secs(1));
    let mut believing = Scratch::with(place, DataChoice::Copy, ttl);
    let flags = opendir(&mut believing, ROOT_ID).open_flags;
    assert_eq!(flags, FopenFlags::CACHE_DIR | FopenFlags::KEEP_CACHE);
}

/// Names the variable that tells the test below that it runs in a process of its own.
const CHILD: &str = "SHMFUSE_TEST_FEW_DESCRIPTORS";

/// A process that may have few descriptors walks many files and misses none.
#[test]
fn few_descriptors_are_enough_for_many_files() {
    if std::env::var_os(CHILD).is_some() {
        return walk_with_few_descriptors();
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "passthrough::directory_tests::few_descriptors_are_enough_for_many_files",
        ])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

fn walk_with_few_descriptors() {
    const DIRS: usize = 50;
    const FILES: usize = 100;
    let limit = rustix::process::Rlimit {
        current: Some(128),
        maximum: Some(128),
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let open_now = || fs::read_dir("/proc/self/fd").unwrap().count();
    for place in places() {
        let mut scratch = Scratch::new(&place);
        for dir in 0..DIRS {
            let dir = scratch.lower(&format!("d{dir}"));
            fs::create_dir(&dir).unwrap();
            for file in 0..FILES {
                fs::write(dir.join(format!("f{file}")), b"").unwrap();
            }
        }
        let before = open_now();
        let mut files = Vec::new();
        for dir in list(&mut scratch, Opcode::READDIRPLUS, ROOT_ID, 4096) {
            if dir.nodeid == 0 {
                continue;
            }
            let listed = list(&mut scratch, Opcode::READDIRPLUS, dir.nodeid, 4096);
            assert_eq!(listed.len(), FILES + 2);
            files.extend(
                listed
                    .into_iter()
                    .filter(|entry| entry.name.starts_with('f')),
            );
        }
        assert_eq!(files.len(), DIRS * FILES);
        assert_eq!(scratch.fs.inode_count(), 1 + DIRS + DIRS * FILES);
        for file in &files {
            assert_ne!(file.nodeid, 0);
            let request = FakeExchange::new(Opcode::GETATTR, file.nodeid);
            let out: AttrOut = scratch.ask_for(request.arg(&GetattrIn::default())).unwrap();
            assert_eq!(out.attr.ino, file.ino);
        }
        assert!(open_now() <= before + scratch.fs.fds.capacity());
        nothing_is_missing_when_there_is_no_descriptor_left(&mut scratch);
        scratch.fs.destroy();
        assert_eq!(scratch.fs.inode_count(), 1);
        scratch.fs.fds.shed();
        assert!(open_now() <= before, "descriptors have leaked");
    }
}

fn nothing_is_missing_when_there_is_no_descriptor_left(scratch: &mut Scratch) {
    fs::create_dir(scratch.lower("last")).unwrap();
    fs::write(scratch.lower("last/one"), b"").unwrap();
    fs::write(scratch.lower("last/two"), b"").unwrap();
    let dir = scratch.lookup("last");
    let fh = opendir(scratch, dir).fh;
    scratch.fs.fds.shed();
    let mut hoard = Vec::new();
    while let Ok(fd) = fs::File::open("/dev/null") {
        hoard.push(fd);
    }
    let listed = read(scratch, Opcode::READDIRPLUS, (dir, fh), 0, 4096).unwrap();
    assert_eq!(names(&listed), BTreeSet::from([".", "..", "one", "two"]));
    let open = FakeExchange::new(Opcode::OPENDIR, dir).arg(&OpenIn::default());
    assert_eq!(scratch.ask(open).unwrap_err(), Errno::MFILE);
    drop(hoard);
    releasedir(scratch, dir, fh).unwrap();
    let one = FakeExchange::new(Opcode::LOOKUP, dir).name("one");
    assert!(scratch.ask_for::<EntryOut>(one).unwrap().nodeid > ROOT_ID);
}
