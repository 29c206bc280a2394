//! Attributes, beside the same system calls on a twin file.

use super::{
    attr::{decode_device, encode_device},
    testing::{Scratch, is_root, places},
};
use crate::fuse::{Errno, testing::FakeExchange};
use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};
use transport::wire::*;

fn setattr(scratch: &mut Scratch, nodeid: u64, arg: SetattrIn) -> Result<Attr, Errno> {
    setattr_by(scratch, nodeid, arg, (0, 0))
}

fn setattr_by(
    scratch: &mut Scratch,
    nodeid: u64,
    arg: SetattrIn,
    (uid, gid): (u32, u32),
) -> Result<Attr, Errno> {
    let request = FakeExchange::new(Opcode::SETATTR, nodeid)
        .by(uid, gid)
        .arg(&arg);
    scratch.ask_for::<AttrOut>(request).map(|out| out.attr)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn device_numbers_survive_the_wire() {
    for (major, minor) in [
        (0, 0),
        (1, 3),
        (8, 255),
        (8, 256),
        (4095, (1 << 20) - 1),
        (259, 65_536),
    ] {
        assert_eq!(decode_device(encode_device(major, minor)), (major, minor));
    }
    // As the kernel has it (include/linux/kdev_t.h): old numbers are what they were in 16 bits.
    assert_eq!(encode_device(8, 1), 0x801);
    assert_eq!(encode_device(259, 70_000), 0x1111_0370);
}

#[test]
fn chmod_sets_every_bit() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"").unwrap();
        fs::create_dir(scratch.lower("d")).unwrap();
        for name in ["f", "d"] {
            let nodeid = scratch.lookup(name);
            for mode in [0, 0o777, 0o4755, 0o2755, 0o2644, 0o1777, 0o7777] {
                let arg = SetattrIn {
                    valid: SetattrValid::MODE,
                    mode,
                    ..SetattrIn::default()
                };
                let attr = setattr(&mut scratch, nodeid, arg).unwrap();
                assert_eq!(attr.mode & 0o7777, mode);
                let direct = fs::metadata(scratch.lower(name)).unwrap();
                assert_eq!(direct.mode() & 0o7777, mode);
            }
        }
    }
}

#[test]
fn chmod_of_a_symlink_is_refused_as_below() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        symlink("target", scratch.lower("l")).unwrap();
        let nodeid = scratch.lookup("l");
        let arg = SetattrIn {
            valid: SetattrValid::MODE,
            ..SetattrIn::default()
        };
        assert_eq!(setattr(&mut scratch, nodeid, arg), Err(Errno::OPNOTSUPP));
    }
}

#[test]
fn chown_changes_what_is_asked_for_and_clears_suid_as_natively() {
    if !is_root() {
        return;
    }
    let (uid, gid) = (SetattrValid::UID, SetattrValid::GID);
    for place in places() {
        for valid in [uid, gid, uid | gid, SetattrValid::empty()] {
            for mode in [0o6777, 0o2755, 0o2745, 0o4755, 0o1755] {
                for kind in ["f", "d"] {
                    let mut scratch = Scratch::new(&place);
                    let twin = scratch.lower("twin");
                    for name in [kind, "twin"] {
                        match kind {
                            "f" => fs::write(scratch.lower(name), b"").unwrap(),
                            _ => fs::create_dir(scratch.lower(name)).unwrap(),
                        }
                        set_mode(&scratch.lower(name), mode);
                    }
                    let given = |flag, id| valid.contains(flag).then_some(id);
                    chown(&twin, given(uid, 11), given(gid, 22)).unwrap();
                    let nodeid = scratch.lookup(kind);
                    let arg = SetattrIn {
                        valid,
                        uid: 11,
                        gid: 22,
                        ..SetattrIn::default()
                    };
                    let attr = setattr(&mut scratch, nodeid, arg).unwrap();
                    let direct = fs::metadata(&twin).unwrap();
                    assert_eq!(attr.mode, direct.mode(), "{kind} {mode:o} {valid:?}");
                    assert_eq!((attr.uid, attr.gid), (direct.uid(), direct.gid()));
                }
            }
        }
    }
}

#[test]
fn a_symlink_has_an_owner_and_times_of_its_own() {
    if !is_root() {
        return;
    }
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"").unwrap();
        symlink("f", scratch.lower("l")).unwrap();
        let nodeid = scratch.lookup("l");
        let arg = SetattrIn {
            valid: SetattrValid::UID | SetattrValid::MTIME,
            uid: 99,
            mtime: 5,
            mtimensec: 6,
            ..SetattrIn::default()
        };
        let attr = setattr(&mut scratch, nodeid, arg).unwrap();
        assert_eq!((attr.uid, attr.mtime, attr.mtimensec), (99, 5, 6));
        let target = fs::metadata(scratch.lower("f")).unwrap();
        assert_eq!(target.uid(), 0);
        assert_ne!(target.mtime(), 5);
    }
}

#[test]
fn times_are_set_left_alone_or_now() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"").unwrap();
        let nodeid = scratch.lookup("f");
        use SetattrValid as V;
        let set = |valid| SetattrIn {
            valid,
            // Before 1970, and beyond 2038.
            atime: -100i64 as u64,
            atimensec: 1,
            mtime: 1 << 33,
            mtimensec: 999_999_999,
            ..SetattrIn::default()
        };
        let attr = setattr(&mut scratch, nodeid, set(V::ATIME | V::MTIME)).unwrap();
        assert_eq!((attr.atime as i64, attr.atimensec), (-100, 1));
        assert_eq!((attr.mtime, attr.mtimensec), (1 << 33, 999_999_999));
        let direct = fs::metadata(scratch.lower("f")).unwrap();
        assert_eq!((direct.atime(), direct.mtime()), (-100, 1 << 33));
        let attr = setattr(&mut scratch, nodeid, set(V::ATIME | V::ATIME_NOW)).unwrap();
        assert!(attr.atime > 1_000_000_000 && attr.atime < 1 << 33);
        assert_eq!(attr.mtime, 1 << 33);
        let attr = setattr(
            &mut scratch,
            nodeid,
            set(V::MTIME | V::MTIME_NOW | V::CTIME),
        )
        .unwrap();
        assert!(attr.mtime < 1 << 33);
    }
}

#[test]
fn truncation_clears_suid_only_where_the_kernel_says_so() {
    if !is_root() {
        return;
    }
    use SetattrValid as V;
    for place in places() {
        for by_handle in [false, true] {
            for (kill, mode) in [(V::empty(), 0o106_777), (V::KILL_SUIDGID, 0o100_777)] {
                let mut scratch = Scratch::new(&place);
                let (nodeid, fh) = scratch.file("f", b"content", OFlags::RDWR);
                set_mode(&scratch.lower("f"), 0o6777);
                let fh_bit = if by_handle { V::FH } else { V::empty() };
                let valid = V::SIZE | kill | fh_bit;
                let arg = SetattrIn {
                    valid,
                    fh,
                    size: 3,
                    ..SetattrIn::default()
                };
                let attr = setattr_by(&mut scratch, nodeid, arg, (1234, 1234)).unwrap();
                assert_eq!((attr.size, attr.mode), (3, mode));
                let arg = SetattrIn {
                    valid: V::SIZE | fh_bit,
                    fh,
                    size: 1 << 40,
                    ..arg
                };
                assert_eq!(setattr(&mut scratch, nodeid, arg).unwrap().size, 1 << 40);
            }
        }
    }
}

#[test]
fn truncation_of_what_has_no_size_fails_and_does_not_wait() {
    let mut scratch = Scratch::new(&places()[0]);
    fs::create_dir(scratch.lower("d")).unwrap();
    rustix::fs::mkfifoat(CWD, scratch.lower("p"), 0o600.into()).unwrap();
    // As truncate(2) says of them (`vfs_truncate`, fs/open.c).
    for (name, errno) in [("d", Errno::ISDIR), ("p", Errno::INVAL)] {
        let nodeid = scratch.lookup(name);
        let arg = SetattrIn {
            valid: SetattrValid::SIZE,
            ..SetattrIn::default()
        };
        assert_eq!(setattr(&mut scratch, nodeid, arg), Err(errno));
    }
}

#[test]
fn a_mode_set_together_with_an_owner_stands() {
    if !is_root() {
        return;
    }
    let mut scratch = Scratch::new(&places()[0]);
    fs::write(scratch.lower("f"), b"").unwrap();
    let nodeid = scratch.lookup("f");
    let arg = SetattrIn {
        valid: SetattrValid::UID | SetattrValid::MODE,
        uid: 5,
        mode: 0o4711,
        ..SetattrIn::default()
    };
    let attr = setattr(&mut scratch, nodeid, arg).unwrap();
    assert_eq!((attr.uid, attr.mode), (5, 0o104_711));
    let arg = SetattrIn {
        valid: SetattrValid::UID,
        uid: u32::MAX,
        ..SetattrIn::default()
    };
    assert_eq!(setattr(&mut scratch, nodeid, arg), Err(Errno::INVAL));
}

#[test]
fn statx_tells_the_time_of_birth() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let (nodeid, fh) = scratch.file("f", b"abc", OFlags::RDONLY);
        for getattr_flags in [GetattrFlags::empty(), GetattrFlags::FH] {
            let arg = StatxIn {
                getattr_flags,
                fh,
                sx_mask: !0,
                ..StatxIn::default()
            };
            let request = FakeExchange::new(Opcode::STATX, nodeid).arg(&arg);
            let stat = scratch.ask_for::<StatxOut>(request).unwrap().stat;
            let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
            let direct =
                rustix::fs::statx(CWD, scratch.lower("f"), AtFlags::empty(), mask).unwrap();
            assert_eq!(stat.mask & mask.bits(), direct.stx_mask & mask.bits());
            assert_eq!(stat.btime.tv_sec, direct.stx_btime.tv_sec);
            assert_eq!(stat.btime.tv_nsec, direct.stx_btime.tv_nsec);
            assert_eq!(
                (stat.size, stat.ino, stat.mode),
                (3, direct.stx_ino, direct.stx_mode)
            );
        }
        let arg = StatxIn {
            getattr_flags: GetattrFlags::FH,
            fh: 12345,
            ..StatxIn::default()
        };
        let request = FakeExchange::new(Opcode::STATX, nodeid).arg(&arg);
        assert_eq!(scratch.ask(request).unwrap_err(), Errno::BADF);
    }
}

#[test]
fn statfs_tells_what_statfs_tells() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let request = FakeExchange::new(Opcode::STATFS, ROOT_ID);
        let out: StatfsOut = scratch.ask_for(request).unwrap();
        let direct = rustix::fs::statvfs(scratch.dir.path()).unwrap();
        assert_eq!((out.blocks, out.files), (direct.f_blocks, direct.f_files));
        assert_eq!(u64::from(out.bsize), direct.f_bsize);
        assert_eq!(u64::from(out.frsize), direct.f_frsize);
        assert_eq!(u64::from(out.namelen), direct.f_namemax);
    }
}

#[test]
fn readlink_tells_any_target_whole() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        for target in ["x", "/absolute/../y", &"z".repeat(4095)] {
            let path = scratch.lower("l");
            fs::remove_file(&path).ok();
            symlink(target, &path).unwrap();
            let nodeid = scratch.lookup("l");
            let read = scratch
                .ask(FakeExchange::new(Opcode::READLINK, nodeid))
                .unwrap();
            assert_eq!(read, target.as_bytes());
        }
        fs::write(scratch.lower("f"), b"").unwrap();
        let nodeid = scratch.lookup("f");
        let read = scratch.ask(FakeExchange::new(Opcode::READLINK, nodeid));
        assert!(matches!(read, Err(Errno::INVAL | Errno::NOENT)), "{read:?}");
    }
}

#[test]
fn access_is_judged_for_the_caller() {
    if !is_root() {
        return;
    }
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"").unwrap();
        chown(scratch.lower("f"), Some(1234), Some(2345)).unwrap();
        set_mode(&scratch.lower("f"), 0o640);
        let nodeid = scratch.lookup("f");
        let mut may = |uid, gid, mask| {
            let arg = AccessIn { mask, padding: 0 };
            let request = FakeExchange::new(Opcode::ACCESS, nodeid)
                .by(uid, gid)
                .arg(&arg);
            scratch.ask(request).map(drop)
        };
        assert_eq!(may(1234, 1, 6), Ok(()));
        assert_eq!(may(1234, 1, 1), Err(Errno::ACCESS));
        assert_eq!(may(1, 2345, 4), Ok(()));
        assert_eq!(may(1, 2345, 2), Err(Errno::ACCESS));
        assert_eq!(may(1, 1, 4), Err(Errno::ACCESS));
        assert_eq!(may(1, 1, 0), Ok(()));
        assert_eq!(may(0, 0, 6), Ok(()));
        assert_eq!(may(0, 0, 1), Err(Errno::ACCESS));
    }
}
