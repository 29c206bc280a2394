//! Files opened in every order: the kernel reads and writes an inode by itself or through the
//! daemon, one or the other at a time, and an open that does not fit would fail with EIO.

use crate::common::{TestMount, wait_until};
use rustix::{
    fs::{CWD, Mode, OFlags, Timespec, Timestamps, futimens, openat},
    io::{pread, pwrite},
};
use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, PermissionsExt},
    },
    path::Path,
    thread,
};

fn open(path: &Path, flags: OFlags) -> OwnedFd {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .unwrap_or_else(|errno| panic!("open {} {flags:?}: {errno}", path.display()))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn content(file: &OwnedFd) -> [u8; 4] {
    let mut bytes = [0; 4];
    assert_eq!(pread(file, &mut bytes, 0), Ok(4));
    bytes
}

/// A file that gets suid while it is open is written by the daemon from then on, beside those
/// that had it open before; all see the same bytes.
fn a_file_that_gets_suid_is_opened_beside_its_earlier_opens(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, "0123").unwrap();
    let before = open(&path, OFlags::RDWR);
    set_mode(&path, 0o4755);
    let beside = open(&path, OFlags::RDWR);
    let reader = open(&path, OFlags::RDONLY);
    pwrite(&before, b"a", 0).unwrap();
    set_mode(&path, 0o4755);
    pwrite(&beside, b"b", 1).unwrap();
    for file in [&before, &beside, &reader] {
        assert_eq!(&content(file), b"ab23");
    }
    assert_eq!(fs::read(&path).unwrap(), b"ab23");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), 0o104_755);
    drop((before, reader));
    let after = open(&path, OFlags::RDWR | OFlags::APPEND);
    pwrite(&after, b"!", 0).unwrap();
    drop((beside, after));
    set_mode(&path, 0o755);
    assert_eq!(&content(&open(&path, OFlags::RDONLY)), b"ab23");
    assert_eq!(fs::read(mount.lower().join("file")).unwrap(), b"ab23!");
}

fn a_file_that_was_opened_with_suid_is_opened_again_without(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, "0123").unwrap();
    set_mode(&path, 0o6755);
    let copied = open(&path, OFlags::RDWR);
    set_mode(&path, 0o755);
    let also = open(&path, OFlags::RDWR);
    pwrite(&also, b"a", 0).unwrap();
    assert_eq!(&content(&copied), b"a123");
    pwrite(&copied, b"b", 1).unwrap();
    assert_eq!(&content(&also), b"ab23");
}

/// Four threads open one file in all manners, while its mode changes.
/// Pages that stay from one open to the next are not what was written past them, though size and
/// times are the same.
fn pages_that_stay_are_those_of_the_last_write(mount: &TestMount) {
    let path = mount.path().join("file");
    for round in 0..4u8 {
        let writer = open(&path, OFlags::RDWR | OFlags::CREATE);
        pwrite(&writer, &[b'0' + round; 4], 0).unwrap();
        let epoch = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: epoch,
            last_modification: epoch,
        };
        futimens(&writer, &times).unwrap();
        drop(writer);
        for _ in 0..4 {
            let reader = open(&path, OFlags::RDONLY);
            assert_eq!(content(&reader), [b'0' + round; 4]);
        }
    }
}

fn opens_that_race_all_succeed(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, "0123").unwrap();
    let manners = [
        OFlags::RDONLY,
        OFlags::RDWR,
        OFlags::WRONLY | OFlags::APPEND,
        OFlags::RDWR | OFlags::DIRECT,
    ];
    thread::scope(|scope| {
        for manner in manners {
            let path = &path;
            scope.spawn(move || {
                for round in 0..300 {
                    let file = open(path, manner);
                    if manner.contains(OFlags::RDWR) && !manner.contains(OFlags::DIRECT) {
                        pwrite(&file, b"0123", 0).unwrap();
                        assert_eq!(&content(&file), b"0123");
                    }
                    if manner == OFlags::RDONLY {
                        set_mode(path, if round % 2 == 0 { 0o4755 } else { 0o755 });
                        assert_eq!(&content(&file), b"0123");
                    }
                }
            });
        }
    });
}

/// Whatever was opened, locked and asked for is closed again in the end.
fn no_descriptor_stays_behind(mount: &TestMount) {
    let path = mount.path().join("file");
    let work = || {
        for round in 0..200 {
            let file = fs::File::options();
            let file = file
                .clone()
                .read(true)
                .write(true)
                .create(true)
                .open(&path)
                .unwrap();
            file.write_all_at(b"x", round).unwrap();
            file.lock().unwrap();
            let lock = nix::libc::flock {
                l_type: nix::libc::F_WRLCK as i16,
                l_whence: 0,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&lock)).unwrap();
            nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).unwrap_err();
            rustix::fs::setxattr(&path, "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
            rustix::fs::ioctl_getflags(&file).unwrap();
            drop(
                openat(
                    CWD,
                    mount.path(),
                    OFlags::TMPFILE | OFlags::RDWR,
                    Mode::RUSR,
                )
                .unwrap(),
            );
        }
    };
    let count = || {
        let process = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let line = fs::read(path.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let ours = line.contains(mount.path().to_str()?) && line.contains("shmfuse");
            (ours && !line.contains("prlimit")).then(|| path.join("fd"))
        });
        process
            .map(|fds| fs::read_dir(fds).map_or(0, Iterator::count))
            .max()
            .unwrap_or(0)
    };
    work();
    let mut settled = count();
    // RELEASE is sent in the background.
    wait_until("the first round is closed", || {
        let now = count();
        now == std::mem::replace(&mut settled, now)
    });
    let before = count();
    work();
    wait_until("the second round is closed", || count() <= before);
}

for_every_variant!(
    on_mount,
    [
        a_file_that_gets_suid_is_opened_beside_its_earlier_opens,
        a_file_that_was_opened_with_suid_is_opened_again_without,
        pages_that_stay_are_those_of_the_last_write,
        opens_that_race_all_succeed,
        no_descriptor_stays_behind,
    ]
);
