//! What the daemon sees of the mounts below LOWER, in mount namespaces of the tests' own.

use super::{
    lower::Lower,
    testing::{Scratch, is_root, places},
};
use crate::fuse::{Errno, testing::FakeExchange};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{fs, os::unix::fs::MetadataExt, path::Path};
use transport::wire::*;

/// Runs `test` on a thread with a mount namespace of its own, which ends with it.
fn in_own_namespace(test: impl FnOnce() + Send + 'static) {
    if !is_root() {
        eprintln!("skipped: mounts need root");
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        test();
    });
    thread.join().unwrap();
}

fn mount_tmpfs(on: &Path) {
    mount(
        Some("tmpfs"),
        on,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=1m"),
    )
    .unwrap();
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn lookup(scratch: &mut Scratch, parent: u64, name: &str) -> Result<EntryOut, Errno> {
    scratch.ask_for(FakeExchange::new(Opcode::LOOKUP, parent).name(name))
}

/// A scratch file system whose lower directory was prepared before the daemon opened it.
fn scratch_on(prepare: impl FnOnce(&Path)) -> Scratch {
    let mut scratch = Scratch::new(&places()[0]);
    prepare(scratch.dir.path());
    scratch.reopen();
    scratch
}

#[test]
fn mounts_below_lower_are_crossed_and_told_apart() {
    in_own_namespace(|| {
        let mut scratch = scratch_on(|lower| {
            fs::create_dir(lower.join("m")).unwrap();
            mount_tmpfs(&lower.join("m"));
            fs::write(lower.join("m/f"), b"in tmpfs").unwrap();
            fs::write(lower.join("f"), b"outside").unwrap();
        });
        let mount = lookup(&mut scratch, ROOT_ID, "m").unwrap();
        assert_eq!(mount.attr.flags, AttrFlags::SUBMOUNT);
        let file = lookup(&mut scratch, mount.nodeid, "f").unwrap();
        assert_eq!(file.attr.flags, AttrFlags::empty());
        assert_eq!(file.attr.size, 8);
        // One st_dev for all: the numbers must not meet.
        let direct = fs::metadata(scratch.lower("m/f")).unwrap();
        assert_eq!(file.attr.ino & 0xffff_ffff_ffff, direct.ino());
        assert_ne!(file.attr.ino, direct.ino());
        let outside = lookup(&mut scratch, ROOT_ID, "f").unwrap();
        assert_eq!(
            outside.attr.ino,
            fs::metadata(scratch.lower("f")).unwrap().ino()
        );
        let statfs = FakeExchange::new(Opcode::STATFS, file.nodeid);
        let statfs: StatfsOut = scratch.ask_for(statfs).unwrap();
        assert_eq!(statfs.blocks * u64::from(statfs.frsize), 1 << 20);
        let rename = FakeExchange::new(Opcode::RENAME, ROOT_ID)
            .arg(&RenameIn {
                newdir: mount.nodeid,
            })
            .name("f")
            .name("g");
        assert_eq!(scratch.ask(rename), Err(Errno::XDEV));
        let link = FakeExchange::new(Opcode::LINK, mount.nodeid)
            .arg(&LinkIn {
                oldnodeid: outside.nodeid,
            })
            .name("g");
        assert_eq!(scratch.ask(link), Err(Errno::XDEV));
        let link = FakeExchange::new(Opcode::LINK, mount.nodeid)
            .arg(&LinkIn {
                oldnodeid: file.nodeid,
            })
            .name("g");
        assert_eq!(
            scratch.ask_for::<EntryOut>(link).unwrap().nodeid,
            file.nodeid
        );
        let parent = lookup(&mut scratch, mount.nodeid, "..").unwrap();
        assert_eq!(parent.nodeid, ROOT_ID);
    });
}

#[test]
fn what_is_mounted_later_is_not_seen_so_no_lookup_can_meet_our_own_mount() {
    in_own_namespace(|| {
        let mut scratch = scratch_on(|lower| {
            fs::create_dir(lower.join("m")).unwrap();
            fs::write(lower.join("m/below"), b"").unwrap();
            // Shared mounts propagate to their peers; a clone must not be one.
            let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
            mount(None::<&str>, "/", None::<&str>, shared, None::<&str>).unwrap();
        });
        mount_tmpfs(&scratch.lower("m"));
        fs::write(scratch.lower("m/above"), b"").unwrap();
        let dir = lookup(&mut scratch, ROOT_ID, "m").unwrap();
        assert!(lookup(&mut scratch, dir.nodeid, "below").is_ok());
        assert_eq!(
            lookup(&mut scratch, dir.nodeid, "above").unwrap_err(),
            Errno::NOENT
        );
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    });
}

#[test]
fn one_inode_on_two_mounts_is_two_nodeids_with_one_number() {
    in_own_namespace(|| {
        let mut scratch = scratch_on(|lower| {
            for dir in ["a", "b"] {
                fs::create_dir(lower.join(dir)).unwrap();
            }
            fs::write(lower.join("a/f"), b"").unwrap();
            fs::write(lower.join("file"), b"").unwrap();
            bind(&lower.join("a"), &lower.join("b"));
            bind(&lower.join("a/f"), &lower.join("file"));
        });
        let a = lookup(&mut scratch, ROOT_ID, "a").unwrap();
        let b = lookup(&mut scratch, ROOT_ID, "b").unwrap();
        assert_ne!(a.nodeid, b.nodeid);
        assert_eq!(a.attr.ino, b.attr.ino);
        assert_eq!(b.attr.flags, AttrFlags::SUBMOUNT);
        let in_a = lookup(&mut scratch, a.nodeid, "f").unwrap();
        let in_b = lookup(&mut scratch, b.nodeid, "f").unwrap();
        let bound = lookup(&mut scratch, ROOT_ID, "file").unwrap();
        assert_eq!((in_b.attr.flags, bound.attr.flags), Default::default());
        assert_eq!(in_a.attr.ino, in_b.attr.ino);
        assert_eq!(in_a.attr.ino, bound.attr.ino);
        let mut nodeids = [in_a.nodeid, in_b.nodeid, bound.nodeid].to_vec();
        nodeids.dedup();
        assert_eq!(nodeids.len(), 3);
        for entry in [in_a, in_b, bound] {
            scratch.fs.fds.shed();
            let request = FakeExchange::new(Opcode::GETATTR, entry.nodeid);
            let out: AttrOut = scratch.ask_for(request.arg(&GetattrIn::default())).unwrap();
            assert_eq!(out.attr, entry.attr);
        }
    });
}

#[test]
fn without_privilege_other_mounts_are_an_error_and_never_entered() {
    in_own_namespace(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        fs::write(dir.path().join("f"), b"").unwrap();
        mount_tmpfs(&dir.path().join("m"));
        use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
        let sets = capabilities(None).unwrap();
        let effective = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective, ..sets }).unwrap();
        let lower = Lower::open(dir.path()).unwrap();
        assert!(!lower.is_private_tree());
        assert!(lower.open_name(lower.root(), c"f").is_ok());
        assert_eq!(
            lower.open_name(lower.root(), c"m").unwrap_err(),
            Errno::XDEV
        );
        assert_eq!(
            lower.open_name(lower.root(), c"..").unwrap_err(),
            Errno::XDEV
        );
        set_capabilities(None, sets).unwrap();
    });
}

#[test]
fn a_missing_lower_directory_is_named() {
    let error = Lower::open(Path::new("/nowhere/at/all"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}
