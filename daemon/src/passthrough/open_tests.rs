//! Requests on open files, against the same system calls on a twin of the lower file.

use super::testing::{Scratch, is_root, places};
use crate::{
    config::{CachePolicy, DataChoice},
    fuse::{Errno, testing::FakeExchange},
};
use bytemuck::Pod;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    time::Duration,
};
use transport::wire::*;

pub(super) const RDWR: OFlags = OFlags::RDWR;

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
