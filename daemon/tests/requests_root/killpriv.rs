//! Set-user-id, set-group-id and capabilities of a file are taken away by the same calls, of the
//! same users, as on the lower file system.

use crate::common::{
    TestMount, Variant, bash,
    identity::{Who, acting, own_umask},
};
use rustix::{
    fs::{self, CWD, FallocateFlags, Gid, Mode, OFlags, Uid, openat},
    io::{Errno, pwrite},
};
use std::path::Path;

/// Something that changes a file's content or owner.
type Change = (&'static str, fn(&Path) -> Result<(), Errno>);

fn open(path: &Path, more: OFlags) -> Result<std::os::fd::OwnedFd, Errno> {
    openat(CWD, path, OFlags::WRONLY | more, Mode::empty())
}

const CHANGES: &[Change] = &[
    ("write", |path| {
        pwrite(open(path, OFlags::empty())?, b"x", 0).map(drop)
    }),
    ("append", |path| {
        pwrite(open(path, OFlags::APPEND)?, b"x", 0).map(drop)
    }),
    ("write nothing", |path| {
        pwrite(open(path, OFlags::empty())?, b"", 0).map(drop)
    }),
    ("synchronous write", |path| {
        pwrite(open(path, OFlags::SYNC)?, b"x", 0).map(drop)
    }),
    ("open and truncate", |path| {
        open(path, OFlags::TRUNC).map(drop)
    }),
    ("ftruncate", |path| {
        fs::ftruncate(open(path, OFlags::empty())?, 1)
    }),
    ("ftruncate to the same size", |path| {
        fs::ftruncate(open(path, OFlags::empty())?, 5)
    }),
    ("truncate", |path| {
        nix::unistd::truncate(path, 2).map_err(|errno| Errno::from_raw_os_error(errno as i32))
    }),
    ("fallocate", |path| {
        fs::fallocate(open(path, OFlags::empty())?, FallocateFlags::empty(), 0, 10)
    }),
    ("punch a hole", |path| {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fs::fallocate(open(path, OFlags::empty())?, flags, 0, 3)
    }),
    ("copy_file_range", |path| {
        let source = openat(
            CWD,
            path.with_file_name("source"),
            OFlags::RDONLY,
            Mode::empty(),
        )?;
        fs::copy_file_range(source, None, open(path, OFlags::empty())?, None, 3).map(drop)
    }),
    ("chown to nobody new", |path| {
        fs::chownat(CWD, path, None, None, fs::AtFlags::empty())
    }),
    ("chown to another owner", |path| {
        fs::chownat(
            CWD,
            path,
            Some(Uid::from_raw(3000)),
            None,
            fs::AtFlags::empty(),
        )
    }),
    ("chown to the same owner", |path| {
        fs::chownat(
            CWD,
            path,
            Some(Uid::from_raw(1000)),
            None,
            fs::AtFlags::empty(),
        )
    }),
    ("chgrp", |path| {
        fs::chownat(
            CWD,
            path,
            None,
            Some(Gid::from_raw(2000)),
            fs::AtFlags::empty(),
        )
    }),
    ("chmod by one who is not in the group", |path| {
        fs::chmodat(
            CWD,
            path,
            Mode::from_bits_retain(0o2777),
            fs::AtFlags::empty(),
        )
    }),
    ("utimes", |path| {
        let now = fs::Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_NOW,
        };
        let times = fs::Timestamps {
            last_access: now,
            last_modification: now,
        };
        fs::utimensat(CWD, path, &times, fs::AtFlags::empty())
    }),
];

/// Modes with set-user-id, with set-group-id for execution, and with set-group-id without it.
const MODES: &[u32] = &[0o4777, 0o2777, 0o6777, 0o6767, 0o2766, 0o0777];

/// The state of a file that matters here.
fn state(path: &Path) -> (String, u32, u32, Vec<u8>) {
    let stat = fs::stat(path).unwrap();
    let mut capability = vec![0; 100];
    let len = fs::getxattr(path, "security.capability", &mut capability[..]).unwrap_or(0);
    capability.truncate(len);
    (
        format!("{:o}", stat.st_mode),
        stat.st_uid,
        stat.st_gid,
        capability,
    )
}

fn privileges_are_taken_away_exactly_as_below(mount: &TestMount) {
    own_umask();
    let mut wrong = String::new();
    let mut case = 0;
    for dir in [mount.path(), mount.plain()] {
        bash(dir, "echo source >source; chmod 777 .; chmod 666 source");
    }
    for (what, change) in CHANGES {
        // The kernel sends the same for it as before a write, and checks nothing of it
        // (docs/decisions/0011-privileges-of-files.md).
        if *what == "chown to nobody new" && mount.variant() != Variant::Native {
            continue;
        }
        for &mode in MODES {
            for who in [Who::Root, Who::Member, Who::Stranger] {
                for (owner, group) in [(1000, 1000), (1000, 2000), (0, 2000)] {
                    case += 1;
                    let [got, expected] = [mount.path(), mount.plain()].map(|dir| {
                        let path = dir.join(format!("file{case}"));
                        make(&path, mode, owner, group);
                        let result = acting(who, 0, || change(&path));
                        let state = state(&path);
                        std::fs::remove_file(&path).unwrap();
                        (result, state)
                    });
                    if got != expected {
                        wrong += &format!(
                            "{what} by {who:?} of mode {mode:o}, {owner}:{group}\n     \
                             got {got:?}\nexpected {expected:?}\n"
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A file of five bytes with a capability.
fn make(path: &Path, mode: u32, owner: u32, group: u32) {
    std::fs::write(path, "five\n").unwrap();
    std::os::unix::fs::chown(path, Some(owner), Some(group)).unwrap();
    fs::chmodat(
        CWD,
        path,
        Mode::from_bits_retain(mode),
        fs::AtFlags::empty(),
    )
    .unwrap();
    // cap_net_raw, permitted and effective (struct vfs_cap_data, version 2).
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fs::setxattr(
        path,
        "security.capability",
        &capability,
        fs::XattrFlags::empty(),
    )
    .unwrap();
}

for_every_variant!(on_mount, [privileges_are_taken_away_exactly_as_below]);
