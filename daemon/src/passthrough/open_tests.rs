//! Requests on open files, against the same system calls on a twin of the lower file.

use super::testing::{Scratch, is_root, places};
use crate::{
    config::{CachePolicy, DataChoice},
    fuse::{Errno, FileSystem, testing::FakeExchange},
};
use bytemuck::Pod;
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    time::Duration,
};
use transport::wire::*;

const RDWR: OFlags = OFlags::RDWR;

#[test]
fn what_is_written_is_read() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let open = scratch.file("f", b"", RDWR);
        let none = WriteFlags::empty();
        assert_eq!(scratch.write(open, 3, b"abc", RDWR, none), Ok(3));
        assert_eq!(scratch.read(open, 0, 100).unwrap(), b"\0\0\0abc");
        assert_eq!(scratch.read(open, 100, 100).unwrap(), b"");
        assert_eq!(std::fs::read(scratch.lower("f")).unwrap(), b"\0\0\0abc");
    }
}

#[test]
fn an_appending_file_appends_wherever_the_kernel_believes_the_end_to_be() {
    let mut scratch = Scratch::new(&places()[0]);
    let flags = OFlags::WRONLY | OFlags::APPEND;
    let open = scratch.file("f", b"12345", flags);
    let none = WriteFlags::empty();
    assert_eq!(scratch.write(open, 0, b"67", flags, none), Ok(2));
    // The application takes O_APPEND back with F_SETFL, and gives it again.
    assert_eq!(scratch.write(open, 0, b"a", OFlags::WRONLY, none), Ok(1));
    assert_eq!(scratch.write(open, 0, b"8", flags, none), Ok(1));
    // Mapped pages have a place of their own.
    assert_eq!(
        scratch.write(open, 1, b"b", OFlags::empty(), WriteFlags::CACHE),
        Ok(1)
    );
    assert_eq!(std::fs::read(scratch.lower("f")).unwrap(), b"ab345678");
}

#[test]
fn a_handle_that_names_nothing_is_a_bad_descriptor() {
    let mut scratch = Scratch::new(&places()[0]);
    let (nodeid, fh) = scratch.file("f", b"x", RDWR);
    scratch.release((nodeid, fh)).unwrap();
    let asked: [(Opcode, Vec<u8>); 12] = [
        (
            Opcode::READ,
            bytes(&ReadIn {
                fh,
                ..ReadIn::default()
            }),
        ),
        (
            Opcode::WRITE,
            bytes(&WriteIn {
                fh,
                ..WriteIn::default()
            }),
        ),
        (
            Opcode::FLUSH,
            bytes(&FlushIn {
                fh,
                ..FlushIn::default()
            }),
        ),
        (
            Opcode::RELEASE,
            bytes(&ReleaseIn {
                fh,
                ..ReleaseIn::default()
            }),
        ),
        (
            Opcode::FSYNC,
            bytes(&FsyncIn {
                fh,
                ..FsyncIn::default()
            }),
        ),
        (
            Opcode::LSEEK,
            bytes(&LseekIn {
                fh,
                ..LseekIn::default()
            }),
        ),
        (
            Opcode::FALLOCATE,
            bytes(&FallocateIn {
                fh,
                ..FallocateIn::default()
            }),
        ),
        (
            Opcode::POLL,
            bytes(&PollIn {
                fh,
                ..PollIn::default()
            }),
        ),
        (
            Opcode::GETLK,
            bytes(&LkIn {
                fh,
                ..LkIn::default()
            }),
        ),
        (
            Opcode::SETLK,
            bytes(&LkIn {
                fh,
                ..LkIn::default()
            }),
        ),
        (
            Opcode::SETLKW,
            bytes(&LkIn {
                fh,
                ..LkIn::default()
            }),
        ),
        (
            Opcode::COPY_FILE_RANGE,
            bytes(&CopyFileRangeIn {
                fh_in: fh,
                fh_out: fh,
                ..CopyFileRangeIn::default()
            }),
        ),
    ];
    for (opcode, fixed) in asked {
        let answer = scratch.ask(FakeExchange::new(opcode, nodeid).fixed_bytes(&fixed));
        assert_eq!(answer, Err(Errno::BADF), "{opcode}");
    }
}

fn bytes<T: Pod>(value: &T) -> Vec<u8> {
    bytemuck::bytes_of(value).to_vec()
}

#[test]
fn a_truncated_request_is_an_error_not_a_panic() {
    let mut scratch = Scratch::new(&places()[0]);
    for opcode in [
        Opcode::OPEN,
        Opcode::CREATE,
        Opcode::TMPFILE,
        Opcode::READ,
        Opcode::WRITE,
        Opcode::FLUSH,
        Opcode::RELEASE,
        Opcode::FSYNC,
        Opcode::SYNCFS,
        Opcode::LSEEK,
        Opcode::FALLOCATE,
        Opcode::COPY_FILE_RANGE,
        Opcode::COPY_FILE_RANGE_64,
        Opcode::GETLK,
        Opcode::SETLK,
        Opcode::SETLKW,
        Opcode::GETXATTR,
        Opcode::SETXATTR,
        Opcode::LISTXATTR,
        Opcode::REMOVEXATTR,
        Opcode::IOCTL,
        Opcode::POLL,
    ] {
        let answer = scratch.ask(FakeExchange::new(opcode, ROOT_ID).fixed_bytes(&[0]));
        assert_eq!(answer, Err(Errno::IO), "{opcode}");
    }
}

#[test]
fn fallocate_does_what_the_lower_file_system_does() {
    use FallocateFlags as F;
    let modes = [
        F::empty(),
        F::KEEP_SIZE,
        F::PUNCH_HOLE | F::KEEP_SIZE,
        F::PUNCH_HOLE,
        F::COLLAPSE_RANGE,
        F::ZERO_RANGE,
        F::ZERO_RANGE | F::KEEP_SIZE,
        F::INSERT_RANGE,
        F::UNSHARE_RANGE,
        F::from_bits_retain(0x80),
        F::from_bits_retain(1 << 30),
    ];
    let ranges = [
        (0, 4096),
        (4096, 8192),
        (1, 5000),
        (0, 0),
        (1 << 20, 4096),
        (1 << 62, 1 << 62),
    ];
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let content: Vec<u8> = (0..65536_u32).map(|i| (i / 7) as u8).collect();
        for mode in modes {
            for (offset, length) in ranges {
                let twin = scratch.lower("twin");
                std::fs::write(&twin, &content).unwrap();
                let (nodeid, fh) = scratch.file("f", &content, RDWR);
                let file = File::options().write(true).open(&twin).unwrap();
                let expected = rustix::fs::fallocate(&file, mode, offset, length);
                let asked = FakeExchange::new(Opcode::FALLOCATE, nodeid).arg(&FallocateIn {
                    fh,
                    offset,
                    length,
                    mode: mode.bits(),
                    padding: 0,
                });
                let got = scratch.ask(asked).map(drop);
                let case = format!("{} {mode:?} {offset}+{length}", place.display());
                assert_eq!(got, expected, "{case}");
                let (of_file, of_twin) = (scratch.lower("f"), &twin);
                assert_eq!(
                    of_file.metadata().unwrap().len(),
                    of_twin.metadata().unwrap().len(),
                    "{case}"
                );
                if of_file.metadata().unwrap().len() < 1 << 22 {
                    assert!(std::fs::read(of_file).unwrap() == std::fs::read(of_twin).unwrap());
                }
                scratch.release((nodeid, fh)).unwrap();
            }
        }
    }
}

#[test]
fn lseek_finds_data_and_holes_where_the_lower_file_has_them() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let (nodeid, fh) = scratch.file("f", b"", RDWR);
        let lower = File::options()
            .read(true)
            .write(true)
            .open(scratch.lower("f"))
            .unwrap();
        lower.write_all_at(b"x", 1 << 20).unwrap();
        lower.write_all_at(b"x", 3 << 20).unwrap();
        for offset in [
            0,
            1,
            1 << 20,
            (1 << 20) + 5000,
            (3 << 20) + 1,
            4 << 20,
            u64::MAX,
        ] {
            for whence in [libc::SEEK_DATA, libc::SEEK_HOLE] {
                let to = match whence {
                    libc::SEEK_DATA => SeekFrom::Data(offset),
                    _ => SeekFrom::Hole(offset),
                };
                let expected = match i64::try_from(offset) {
                    Ok(_) => rustix::fs::seek(&lower, to),
                    Err(_) => Err(Errno::NXIO),
                };
                let asked = FakeExchange::new(Opcode::LSEEK, nodeid).arg(&LseekIn {
                    fh,
                    offset,
                    whence: whence as u32,
                    padding: 0,
                });
                let got = scratch.ask_for::<LseekOut>(asked).map(|out| out.offset);
                assert_eq!(got, expected, "{} {offset} {whence}", place.display());
            }
        }
    }
}

#[test]
fn a_range_is_copied_from_file_to_file() {
    let mut scratch = Scratch::new(&places()[0]);
    let source = scratch.file("source", b"0123456789", OFlags::RDONLY);
    let target = scratch.file("target", b"abcdefghij", RDWR);
    let mut copy = |opcode, flags| {
        scratch.ask(FakeExchange::new(opcode, source.0).arg(&CopyFileRangeIn {
            fh_in: source.1,
            off_in: 2,
            nodeid_out: target.0,
            fh_out: target.1,
            off_out: 1,
            len: 4,
            flags,
        }))
    };
    assert_eq!(
        copy(Opcode::COPY_FILE_RANGE, 0).unwrap()[..4],
        4_u32.to_ne_bytes()
    );
    assert_eq!(
        copy(Opcode::COPY_FILE_RANGE_64, 0).unwrap(),
        4_u64.to_ne_bytes()
    );
    assert_eq!(copy(Opcode::COPY_FILE_RANGE, 1), Err(Errno::INVAL));
    assert_eq!(
        std::fs::read(scratch.lower("target")).unwrap(),
        b"a2345fghij"
    );
}

#[test]
fn a_created_file_is_its_creators() {
    if !is_root() {
        return;
    }
    let mut scratch = Scratch::new(&places()[0]);
    let (entry, open) = scratch.create("f", RDWR, 0o666, (1234, 4321)).unwrap();
    let stat = scratch.lower("f").metadata().unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mode()),
        (1234, 4321, 0o100_644)
    );
    assert_eq!(entry.attr.ino, stat.ino());
    assert_eq!(entry.nodeid, scratch.lookup("f"));
    let open = (entry.nodeid, open.fh);
    assert_eq!(
        scratch.write(open, 0, b"x", RDWR, WriteFlags::empty()),
        Ok(1)
    );
}

#[test]
fn a_file_that_was_made_meanwhile_is_looked_up_again_or_refused() {
    let mut scratch = Scratch::new(&places()[0]);
    std::fs::write(scratch.lower("f"), b"theirs").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", scratch.lower("link")).unwrap();
    for name in ["f", "link"] {
        let taken = scratch.create(name, RDWR, 0o644, (0, 0)).map(drop);
        assert_eq!(taken, Err(Errno::STALE));
        let exclusive = scratch
            .create(name, RDWR | OFlags::EXCL, 0o644, (0, 0))
            .map(drop);
        assert_eq!(exclusive, Err(Errno::EXIST));
    }
    assert_eq!(std::fs::read(scratch.lower("f")).unwrap(), b"theirs");
}

#[test]
fn a_file_without_a_name_can_be_used() {
    let mut scratch = Scratch::new(&places()[0]);
    let request = FakeExchange::new(Opcode::TMPFILE, ROOT_ID)
        .arg(&CreateIn {
            flags: (RDWR | OFlags::TMPFILE).bits(),
            mode: 0o100_600,
            ..CreateIn::default()
        })
        .name("/");
    let body = scratch.ask(request).unwrap();
    let (entry, open) = body.split_at(size_of::<EntryOut>());
    let entry: EntryOut = bytemuck::pod_read_unaligned(entry);
    let open: OpenOut = bytemuck::pod_read_unaligned(open);
    assert_eq!((entry.attr.nlink, entry.attr.mode), (0, 0o100_600));
    let open = (entry.nodeid, open.fh);
    assert_eq!(
        scratch.write(open, 0, b"x", RDWR, WriteFlags::empty()),
        Ok(1)
    );
    assert_eq!(scratch.read(open, 0, 9).unwrap(), b"x");
    assert_eq!(std::fs::read_dir(scratch.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_deleted_file_stays_open() {
    let mut scratch = Scratch::new(&places()[0]);
    let open = scratch.file("f", b"still here", RDWR);
    std::fs::remove_file(scratch.lower("f")).unwrap();
    assert_eq!(scratch.read(open, 0, 100).unwrap(), b"still here");
    let again = scratch.open(open.0, OFlags::RDONLY).unwrap();
    assert_eq!(scratch.read((open.0, again.fh), 0, 5).unwrap(), b"still");
}

#[test]
fn only_regular_files_are_opened() {
    let mut scratch = Scratch::new(&places()[0]);
    std::fs::create_dir(scratch.lower("dir")).unwrap();
    nix::unistd::mkfifo(&scratch.lower("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, errno) in [("dir", Errno::ISDIR), ("fifo", Errno::NXIO)] {
        let nodeid = scratch.lookup(name);
        assert_eq!(scratch.open(nodeid, OFlags::RDONLY).map(drop), Err(errno));
    }
}

#[test]
fn opens_of_one_inode_agree_on_how_its_data_travels() {
    let mut scratch = Scratch::with(
        &places()[0],
        DataChoice::Auto,
        CachePolicy::Ttl(Duration::from_secs(1)),
    );
    std::fs::write(scratch.lower("f"), b"x").unwrap();
    let nodeid = scratch.lookup("f");
    let first = scratch.open(nodeid, RDWR).unwrap();
    let second = scratch.open(nodeid, OFlags::RDONLY).unwrap();
    assert_eq!(first.open_flags, FopenFlags::PASSTHROUGH);
    assert_eq!(second.backing_id, first.backing_id);

    // It gets suid: whoever opens it for writing now is served by the daemon, beside the others.
    let suid = PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(scratch.lower("f"), suid).unwrap();
    let beside = scratch.open(nodeid, RDWR).unwrap();
    assert_eq!(
        beside.open_flags,
        FopenFlags::PASSTHROUGH | FopenFlags::DIRECT_IO
    );
    assert_eq!(beside.backing_id, first.backing_id);

    for fh in [first.fh, second.fh, beside.fh] {
        assert_eq!(scratch.backing.count(), 1);
        scratch.release((nodeid, fh)).unwrap();
    }
    assert_eq!(scratch.backing.count(), 0);
    let copied = scratch.open(nodeid, RDWR).unwrap();
    assert_eq!(copied.open_flags, FopenFlags::KEEP_CACHE);
    assert_eq!(
        scratch.open(nodeid, OFlags::RDONLY).unwrap().open_flags,
        copied.open_flags
    );
}

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
