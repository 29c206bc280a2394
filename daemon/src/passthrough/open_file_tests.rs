//! Requests on open files but those for data, answered as the same system calls are: locks, extended
//! attributes, ioctls, privileges, synchronisation.

use super::{
    open_tests::RDWR,
    testing::{Scratch, is_root, places},
};
use crate::{
    config::{CachePolicy, DataChoice},
    fuse::{Errno, FileSystem, testing::FakeExchange},
};
use rustix::fs::Mode;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use transport::wire::*;

#[test]
fn flush_gives_up_the_locks_of_its_owner() {
    let mut scratch = Scratch::new(&places()[0]);
    let (nodeid, fh) = scratch.file("f", b"x", RDWR);
    let lock = |opcode, owner, kind: i32| {
        FakeExchange::new(opcode, nodeid).arg(&LkIn {
            fh,
            owner,
            lk: FileLock {
                start: 0,
                end: 9,
                kind: kind as u32,
                pid: 77,
            },
            ..LkIn::default()
        })
    };
    scratch.ask(lock(Opcode::SETLK, 1, libc::F_WRLCK)).unwrap();
    let refused = scratch.ask(lock(Opcode::SETLK, 2, libc::F_RDLCK));
    assert_eq!(refused, Err(Errno::AGAIN));
    let found: LkOut = scratch
        .ask_for(lock(Opcode::GETLK, 2, libc::F_RDLCK))
        .unwrap();
    assert_eq!((found.lk.kind, found.lk.pid), (libc::F_WRLCK as u32, 77));
    let flush = FlushIn {
        fh,
        lock_owner: 1,
        ..FlushIn::default()
    };
    scratch
        .ask(FakeExchange::new(Opcode::FLUSH, nodeid).arg(&flush))
        .unwrap();
    scratch.ask(lock(Opcode::SETLK, 2, libc::F_RDLCK)).unwrap();
    scratch.release((nodeid, fh)).unwrap();
    assert!(scratch.fs.locks.is_empty());
}

#[test]
fn flock_is_the_open_files() {
    let mut scratch = Scratch::new(&places()[0]);
    let first = scratch.file("f", b"x", RDWR);
    let second = scratch.open(first.0, RDWR).unwrap().fh;
    let flock = |fh, kind: i32| {
        FakeExchange::new(Opcode::SETLK, first.0).arg(&LkIn {
            fh,
            lk: FileLock {
                end: i64::MAX as u64,
                kind: kind as u32,
                ..FileLock::default()
            },
            lk_flags: LkFlags::FLOCK,
            ..LkIn::default()
        })
    };
    scratch.ask(flock(first.1, libc::F_WRLCK)).unwrap();
    assert_eq!(scratch.ask(flock(second, libc::F_RDLCK)), Err(Errno::AGAIN));
    scratch.release(first).unwrap();
    scratch.ask(flock(second, libc::F_RDLCK)).unwrap();
}

#[test]
fn extended_attributes_are_the_lower_inodes() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        std::fs::write(scratch.lower("f"), b"x").unwrap();
        let nodeid = scratch.lookup("f");
        let get = |size| GetxattrIn { size, padding: 0 };
        let set = SetxattrIn {
            size: 5,
            ..SetxattrIn::default()
        };
        let request = FakeExchange::new(Opcode::SETXATTR, nodeid).arg(&set);
        scratch.ask(request.name("user.a").bytes(b"value")).unwrap();
        let mut ask = |size, name| {
            scratch.ask(
                FakeExchange::new(Opcode::GETXATTR, nodeid)
                    .arg(&get(size))
                    .name(name),
            )
        };
        assert_eq!(ask(0, "user.a").unwrap()[..4], 5_u32.to_ne_bytes());
        assert_eq!(ask(5, "user.a").unwrap(), b"value");
        assert_eq!(ask(100, "user.a").unwrap(), b"value");
        assert_eq!(ask(4, "user.a"), Err(Errno::RANGE));
        assert_eq!(ask(100, "user.b"), Err(Errno::NODATA));
        assert_eq!(ask(100, "nonsense"), Err(Errno::OPNOTSUPP));
        assert_eq!(
            ask(100, &format!("user.{}", "x".repeat(300))),
            Err(Errno::RANGE)
        );
        let create = SetxattrIn {
            flags: libc::XATTR_CREATE as u32,
            ..set
        };
        let request = FakeExchange::new(Opcode::SETXATTR, nodeid).arg(&create);
        let again = scratch.ask(request.name("user.a").bytes(b"value"));
        assert_eq!(again, Err(Errno::EXIST));
        let request = FakeExchange::new(Opcode::REMOVEXATTR, nodeid);
        scratch.ask(request.name("user.a")).unwrap();
        let request = FakeExchange::new(Opcode::LISTXATTR, nodeid).arg(&get(0));
        assert_eq!(scratch.ask(request).unwrap()[..4], [0; 4]);
    }
}

#[test]
fn trusted_attributes_are_listed_for_root_alone() {
    if !is_root() {
        return;
    }
    let mut scratch = Scratch::new(&places()[0]);
    std::os::unix::fs::symlink("nowhere", scratch.lower("link")).unwrap();
    std::fs::write(scratch.lower("f"), b"x").unwrap();
    for (name, attribute) in [("link", "trusted.l"), ("f", "trusted.f"), ("f", "user.u")] {
        let nodeid = scratch.lookup(name);
        let set = SetxattrIn {
            size: 1,
            ..SetxattrIn::default()
        };
        let request = FakeExchange::new(Opcode::SETXATTR, nodeid).arg(&set);
        scratch.ask(request.name(attribute).bytes(b"1")).unwrap();
    }
    let mut list = |name, uid, size| {
        let nodeid = scratch.lookup(name);
        let request = FakeExchange::new(Opcode::LISTXATTR, nodeid).by(uid, uid);
        scratch.ask(request.arg(&GetxattrIn { size, padding: 0 }))
    };
    assert_eq!(list("link", 0, 100).unwrap(), b"trusted.l\0");
    assert_eq!(list("link", 1000, 100).unwrap(), b"");
    assert_eq!(list("f", 1000, 100).unwrap(), b"user.u\0");
    assert_eq!(list("f", 1000, 0).unwrap()[..4], 7_u32.to_ne_bytes());
    assert_eq!(list("f", 1000, 6), Err(Errno::RANGE));
    assert_eq!(list("f", 0, 0).unwrap()[..4], 17_u32.to_ne_bytes());
}

#[test]
fn file_flags_are_read_and_set_and_other_ioctls_refused() {
    let mut scratch = Scratch::new(&places()[0]);
    std::fs::create_dir(scratch.lower("dir")).unwrap();
    std::fs::write(scratch.lower("f"), b"x").unwrap();
    for name in ["f", "dir"] {
        let nodeid = scratch.lookup(name);
        let ioctl = |cmd, in_size, out_size| {
            let request = IoctlIn {
                cmd,
                in_size,
                out_size,
                ..IoctlIn::default()
            };
            FakeExchange::new(Opcode::IOCTL, nodeid).arg(&request)
        };
        // As chattr(1): the others stay. Without the flag of extents ext4 would rewrite the file's
        // block map, which works for some files only.
        let before = scratch.ask(ioctl(0x8008_6601, 0, 4)).unwrap();
        let before = u32::from_ne_bytes(before[size_of::<IoctlOut>()..].try_into().unwrap());
        let set = ioctl(0x4008_6602, 4, 0).bytes(&(before | 0x80).to_ne_bytes());
        assert_eq!(
            scratch.ask(set).map(|body| body.len()),
            Ok(size_of::<IoctlOut>())
        );
        let flags = scratch.ask(ioctl(0x8008_6601, 0, 4)).unwrap();
        let flags = u32::from_ne_bytes(flags[size_of::<IoctlOut>()..].try_into().unwrap());
        assert_eq!(flags & 0x80, 0x80, "no atime: {flags:#x}");
        let attributes = scratch.ask(ioctl(0x801c_581f, 0, 28)).unwrap();
        assert_eq!(attributes.len(), size_of::<IoctlOut>() + 28);
        assert_eq!(attributes[size_of::<IoctlOut>()] & 0x40, 0x40);
        assert_eq!(scratch.ask(ioctl(0x8008_6601, 0, 2)), Err(Errno::INVAL));
        assert_eq!(scratch.ask(ioctl(0x5401, 0, 0)), Err(Errno::NOTTY));
    }
}

#[test]
fn a_write_by_one_without_privilege_clears_suid_and_sgid() {
    if !is_root() {
        return;
    }
    let kill = WriteFlags::KILL_SUIDGID;
    // One for all: what a thread has let go of, the next request that may keep it takes again.
    let mut scratch = Scratch::new(&places()[0]);
    for (mode, flags, after) in [
        (0o6755, WriteFlags::empty(), 0o6755),
        (0o6755, kill, 0o755),
        (0o2745, kill, 0o745),
        (0o6755, WriteFlags::empty(), 0o6755),
    ] {
        scratch.thread.creds.with_fsetid().unwrap();
        std::fs::write(scratch.lower("f"), b"x").unwrap();
        std::os::unix::fs::chown(scratch.lower("f"), Some(1000), Some(1000)).unwrap();
        std::fs::set_permissions(scratch.lower("f"), PermissionsExt::from_mode(mode)).unwrap();
        let nodeid = scratch.lookup("f");
        let fh = scratch.open(nodeid, RDWR).unwrap().fh;
        scratch.write((nodeid, fh), 0, b"y", RDWR, flags).unwrap();
        let found = scratch.lower("f").metadata().unwrap().mode() & 0o7777;
        assert_eq!(found, after, "{mode:o} {flags:?}");
    }
}

#[test]
fn an_acl_set_from_outside_the_group_clears_sgid() {
    if !is_root() {
        return;
    }
    // Version 2; user rwx, group r-x, other r-x.
    let acl: Vec<u8> = [2_u32]
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .chain(
            [(1_u16, 7_u16), (4, 5), (0x20, 5)]
                .into_iter()
                .flat_map(|(tag, perm)| {
                    let mut entry = [0xff; 8];
                    entry[..2].copy_from_slice(&tag.to_ne_bytes());
                    entry[2..4].copy_from_slice(&perm.to_ne_bytes());
                    entry
                }),
        )
        .collect();
    for (flags, after) in [
        (SetxattrFlags::empty(), 0o2755),
        (SetxattrFlags::ACL_KILL_SGID, 0o755),
    ] {
        let mut scratch = Scratch::new(&places()[0]);
        std::fs::write(scratch.lower("f"), b"x").unwrap();
        std::os::unix::fs::chown(scratch.lower("f"), Some(1000), Some(0)).unwrap();
        std::fs::set_permissions(scratch.lower("f"), PermissionsExt::from_mode(0o2700)).unwrap();
        let nodeid = scratch.lookup("f");
        let set = SetxattrIn {
            size: acl.len() as u32,
            setxattr_flags: flags,
            ..SetxattrIn::default()
        };
        let request = FakeExchange::new(Opcode::SETXATTR, nodeid)
            .by(1000, 1000)
            .arg(&set);
        scratch
            .ask(request.name("system.posix_acl_access").bytes(&acl))
            .unwrap();
        let found = scratch.lower("f").metadata().unwrap().mode() & 0o7777;
        assert_eq!(found, after, "{flags:?}");
    }
}

#[test]
fn a_regular_file_is_always_ready() {
    let mut scratch = Scratch::new(&places()[0]);
    let (nodeid, fh) = scratch.file("f", b"x", RDWR);
    let request = FakeExchange::new(Opcode::POLL, nodeid);
    let events = u32::from(rustix::event::PollFlags::IN.bits());
    let out: PollOut = scratch
        .ask_for(request.arg(&PollIn {
            fh,
            events,
            ..PollIn::default()
        }))
        .unwrap();
    assert_eq!(out.revents, events);
}

#[test]
fn files_are_synced_and_their_file_system_too() {
    let mut scratch = Scratch::new(&places()[0]);
    let (nodeid, fh) = scratch.file("f", b"x", RDWR);
    for fsync_flags in [FsyncFlags::empty(), FsyncFlags::FDATASYNC] {
        let fsync = FsyncIn {
            fh,
            fsync_flags,
            padding: 0,
        };
        scratch
            .ask(FakeExchange::new(Opcode::FSYNC, nodeid).arg(&fsync))
            .unwrap();
    }
    let request = FakeExchange::new(Opcode::SYNCFS, ROOT_ID).arg(&SyncfsIn::default());
    scratch.ask(request).unwrap();
    assert_eq!(
        scratch.ask(FakeExchange::new(Opcode::BMAP, nodeid)),
        Err(Errno::NOSYS)
    );
}

#[test]
fn the_end_of_the_connection_closes_everything() {
    let mut scratch = Scratch::with(&places()[0], DataChoice::Auto, CachePolicy::Strict);
    let open = scratch.file("f", b"x", RDWR);
    scratch.fs.destroy();
    assert!(scratch.fs.files.is_empty());
    assert_eq!(scratch.read(open, 0, 1), Err(Errno::BADF));
}

#[test]
fn a_new_file_has_the_mode_the_caller_wants_less_its_umask() {
    let mut scratch = Scratch::new(&places()[0]);
    scratch.create("f", RDWR, 0o7777, (0, 0)).unwrap();
    let mode = Mode::from_raw_mode(scratch.lower("f").metadata().unwrap().mode());
    assert_eq!(mode, Mode::from_raw_mode(0o7755));
}
