//! Locks of several owners on one file, without a mount.

use super::*;
use crate::passthrough::lock_ranges::LAST_BYTE;
use std::{process::Command, time::Duration};
use tempfile::NamedTempFile;

const NODEID: u64 = 5;

fn request(owner: u64, start: u64, end: u64, kind: Option<LockKind>) -> LockRequest {
    LockRequest {
        nodeid: NODEID,
        owner,
        fh: owner,
        pid: owner as u32 + 1000,
        range: ByteRange { start, end },
        kind,
    }
}

const READ: Option<LockKind> = Some(LockKind::Read);
const WRITE: Option<LockKind> = Some(LockKind::Write);

/// What another process sees of a lock on the byte `at` of `path`: `F_UNLCK` if it could have it.
fn seen_from_outside(path: &std::path::Path, at: u64, kind: i32) -> (i32, i32) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut lock = libc::flock {
        l_type: kind as i16,
        l_whence: 0,
        l_start: at as i64,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).unwrap();
    (lock.l_type.into(), lock.l_pid)
}

#[test]
fn two_owners_exclude_each_other() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, WRITE), lower).unwrap();
    let refused = table.set(&request(2, 5, 5, READ), lower);
    assert_eq!(refused, Err(Errno::AGAIN));
    table.set(&request(2, 10, 19, WRITE), lower).unwrap();
    table.set(&request(1, 0, LAST_BYTE, None), lower).unwrap();
    table.set(&request(2, 5, 5, READ), lower).unwrap();
}

#[test]
fn a_test_names_the_process_that_is_in_the_way() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, READ), lower).unwrap();
    table.set(&request(2, 20, LAST_BYTE, WRITE), lower).unwrap();
    let found = table
        .test(&request(3, 4, 30, WRITE), lower)
        .unwrap()
        .unwrap();
    assert_eq!((found.start, found.end, found.pid), (0, 9, 1001));
    assert_eq!(found.kind, libc::F_RDLCK as u32);
    let found = table
        .test(&request(3, 15, 30, READ), lower)
        .unwrap()
        .unwrap();
    assert_eq!((found.start, found.end, found.pid), (20, LAST_BYTE, 1002));
    assert_eq!(table.test(&request(2, 15, 30, READ), lower), Ok(None));
}

#[test]
fn a_lock_is_seen_by_who_works_on_the_lower_file_and_the_other_way_round() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, WRITE), lower).unwrap();
    let (kind, _) = seen_from_outside(file.path(), 3, libc::F_RDLCK);
    assert_eq!(kind, libc::F_WRLCK);

    // The other process takes a lock of fcntl(2) proper, which carries its process id.
    let script = "import fcntl,sys,time\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX,1,50)\n\
                  print('locked',flush=True)\nsys.stdin.read()";
    let mut child = Command::new("python3")
        .args(["-c", script, file.path().to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let refused = table.set(&request(1, 40, 60, READ), lower);
    let found = table.test(&request(1, 40, 60, READ), lower).unwrap();
    let pid = child.id();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(refused, Err(Errno::AGAIN));
    assert_eq!(found.unwrap().pid, pid);
}

#[test]
fn read_locks_survive_the_change_to_a_writable_description() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, READ), lower).unwrap();
    table.set(&request(1, 20, 29, READ), lower).unwrap();
    table.set(&request(1, 40, 49, WRITE), lower).unwrap();
    for (at, held) in [
        (5, libc::F_RDLCK),
        (25, libc::F_RDLCK),
        (45, libc::F_WRLCK),
        (35, libc::F_UNLCK),
    ] {
        let (kind, _) = seen_from_outside(file.path(), at, libc::F_WRLCK);
        assert_eq!(kind, held, "byte {at}");
    }
}

#[test]
fn a_flush_gives_up_the_owners_locks_and_no_others() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, WRITE), lower).unwrap();
    table.set(&request(2, 10, 19, WRITE), lower).unwrap();
    table.release_owner(NODEID, 1);
    let kind_at = |at| seen_from_outside(file.path(), at, libc::F_RDLCK).0;
    assert_eq!((kind_at(5), kind_at(15)), (libc::F_UNLCK, libc::F_WRLCK));
    assert_eq!(table.len(), 1);
    table.release_handle(NODEID, 2);
    assert_eq!(kind_at(15), libc::F_UNLCK);
    assert!(table.is_empty());
}

#[test]
fn an_owner_that_only_unlocks_is_not_remembered() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, LAST_BYTE, None), lower).unwrap();
    assert!(table.is_empty());
    table.set(&request(1, 0, 9, WRITE), lower).unwrap();
    table.set(&request(1, 0, LAST_BYTE, None), lower).unwrap();
    assert!(table.is_empty());
}

#[test]
fn who_waits_gets_the_lock_when_it_is_given_up() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, WRITE), lower).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| table.set_waiting(&request(2, 0, 9, WRITE), lower, || false));
        while lock(&table.waits).is_empty() {
            std::thread::yield_now();
        }
        assert!(!waiter.is_finished());
        table.release_owner(NODEID, 1);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    let found = table.test(&request(1, 0, 9, READ), lower).unwrap().unwrap();
    assert_eq!(found.pid, 1002);
}

#[test]
fn an_interrupted_wait_ends_and_leaves_nothing_behind() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 9, WRITE), lower).unwrap();
    let ended = table.set_waiting(&request(2, 0, 9, WRITE), lower, || true);
    assert_eq!(ended, Err(Errno::INTR));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_wait_that_would_never_end_is_refused() {
    let (table, file) = (LockTable::default(), NamedTempFile::new().unwrap());
    let lower = file.as_file().as_fd();
    table.set(&request(1, 0, 0, WRITE), lower).unwrap();
    table.set(&request(2, 1, 1, WRITE), lower).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| table.set_waiting(&request(1, 1, 1, WRITE), lower, || false));
        while lock(&table.waits).is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let refused = table.set_waiting(&request(2, 0, 0, WRITE), lower, || false);
        assert_eq!(refused, Err(Errno::DEADLK));
        table.release_owner(NODEID, 2);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}
