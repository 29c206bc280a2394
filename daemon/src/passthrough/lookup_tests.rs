//! Who is who: nodeids, their lookup counts, and what keeps an inode alive.

use super::testing::{Scratch, is_root, places};
use crate::{
    config::{CachePolicy, DataChoice},
    fuse::{Errno, FileSystem, ServeThread, testing::FakeExchange},
};
use rustix::fs::OFlags;
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    time::Duration,
};
use transport::wire::*;

fn lookup_in(scratch: &mut Scratch, parent: u64, name: &str) -> Result<EntryOut, Errno> {
    scratch.ask_for(FakeExchange::new(Opcode::LOOKUP, parent).name(name))
}

fn getattr(scratch: &mut Scratch, nodeid: u64) -> Result<Attr, Errno> {
    let request = FakeExchange::new(Opcode::GETATTR, nodeid).arg(&GetattrIn::default());
    scratch.ask_for::<AttrOut>(request).map(|out| out.attr)
}

fn remove(scratch: &mut Scratch, opcode: Opcode, name: &str) -> Result<(), Errno> {
    let request = FakeExchange::new(opcode, ROOT_ID).name(name);
    scratch.ask(request).map(drop)
}

#[test]
fn a_lookup_tells_what_stat_tells() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"hello").unwrap();
        let entry = lookup_in(&mut scratch, ROOT_ID, "f").unwrap();
        let direct = fs::metadata(scratch.lower("f")).unwrap();
        assert!(entry.nodeid > ROOT_ID);
        assert_eq!((entry.entry_valid, entry.entry_valid_nsec), (0, 0));
        assert_eq!(entry.attr.ino, direct.ino());
        assert_eq!(entry.attr.size, direct.size());
        assert_eq!(entry.attr.blocks, direct.blocks());
        assert_eq!(entry.attr.mode, direct.mode());
        assert_eq!(u64::from(entry.attr.nlink), direct.nlink());
        assert_eq!(
            (entry.attr.uid, entry.attr.gid),
            (direct.uid(), direct.gid())
        );
        assert_eq!(entry.attr.mtime as i64, direct.mtime());
        assert_eq!(i64::from(entry.attr.mtimensec), direct.mtime_nsec());
        assert_eq!(i64::from(entry.attr.ctimensec), direct.ctime_nsec());
        assert_eq!(u64::from(entry.attr.blksize), direct.blksize());
        let again = getattr(&mut scratch, entry.nodeid).unwrap();
        assert_eq!(again, entry.attr);
        let root = getattr(&mut scratch, ROOT_ID).unwrap();
        assert_eq!(root.ino, fs::metadata(scratch.dir.path()).unwrap().ino());
    }
}

#[test]
fn hard_links_are_one_nodeid() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("a"), b"").unwrap();
        fs::create_dir(scratch.lower("d")).unwrap();
        fs::hard_link(scratch.lower("a"), scratch.lower("d/b")).unwrap();
        let dir = scratch.lookup("d");
        let a = scratch.lookup("a");
        let b = lookup_in(&mut scratch, dir, "b").unwrap();
        assert_eq!(b.nodeid, a);
        assert_eq!(b.attr.nlink, 2);
        assert_eq!(scratch.fs.inodes.nlookup(a), 2);
        assert_eq!(scratch.fs.inode_count(), 3);
    }
}

#[test]
fn each_answered_lookup_counts_and_forget_takes_the_counts_back() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"").unwrap();
        let nodeid = scratch.lookup("f");
        for count in 2..=10 {
            assert_eq!(scratch.lookup("f"), nodeid);
            assert_eq!(scratch.fs.inodes.nlookup(nodeid), count);
        }
        scratch.fs.forget(nodeid, 9);
        assert_eq!(scratch.fs.inodes.nlookup(nodeid), 1);
        assert!(getattr(&mut scratch, nodeid).is_ok());
        scratch.fs.forget(nodeid, 1);
        assert_eq!(getattr(&mut scratch, nodeid), Err(Errno::STALE));
        assert_eq!(scratch.fs.inode_count(), 1);
        assert_ne!(scratch.lookup("f"), nodeid);
        scratch.fs.forget(ROOT_ID, 1000);
        assert!(getattr(&mut scratch, ROOT_ID).is_ok());
    }
}

#[test]
fn a_missing_name_is_an_error_or_a_negative_entry_if_it_may_be_believed() {
    let place = &places()[0];
    let mut strict = Scratch::new(place);
    assert_eq!(
        lookup_in(&mut strict, ROOT_ID, "x").unwrap_err(),
        Errno::NOENT
    );
    let ttl = CachePolicy::Ttl(Duration::from_millis(1500));
    let mut believing = Scratch::with(place, DataChoice::Copy, ttl);
    let entry = lookup_in(&mut believing, ROOT_ID, "x").unwrap();
    assert_eq!(entry.nodeid, 0);
    assert_eq!(
        (entry.entry_valid, entry.entry_valid_nsec),
        (1, 500_000_000)
    );
    assert_eq!(believing.fs.inode_count(), 1);
}

#[test]
fn an_inode_number_that_is_used_again_gets_a_new_nodeid() {
    // ext4 hands a freed number out again at once; tmpfs does so rarely.
    let mut scratch = Scratch::new(&places()[0]);
    fs::write(scratch.lower("old"), b"old").unwrap();
    let old = lookup_in(&mut scratch, ROOT_ID, "old").unwrap();
    // No descriptor is to keep the old inode.
    scratch.fs.fds.shed();
    fs::remove_file(scratch.lower("old")).unwrap();
    let reused = (0..10_000).find(|n| {
        let path = scratch.lower(&format!("new{n}"));
        fs::write(&path, b"").unwrap();
        fs::metadata(path).unwrap().ino() == old.attr.ino
    });
    let Some(reused) = reused else {
        eprintln!("skipped: the number was not used again");
        return;
    };
    let new = lookup_in(&mut scratch, ROOT_ID, &format!("new{reused}")).unwrap();
    assert_eq!(new.attr.ino, old.attr.ino);
    assert_ne!(new.nodeid, old.nodeid);
    assert_eq!(getattr(&mut scratch, old.nodeid), Err(Errno::STALE));
    assert!(getattr(&mut scratch, new.nodeid).is_ok());
}

#[test]
fn a_name_that_goes_to_another_file_brings_that_files_nodeid() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("a"), b"a").unwrap();
        fs::write(scratch.lower("b"), b"bb").unwrap();
        let a = scratch.lookup("a");
        let b = scratch.lookup("b");
        fs::rename(scratch.lower("b"), scratch.lower("a")).unwrap();
        let entry = lookup_in(&mut scratch, ROOT_ID, "a").unwrap();
        assert_eq!((entry.nodeid, entry.attr.size), (b, 2));
        assert_ne!(entry.nodeid, a);
    }
}

#[test]
fn a_removed_file_that_is_open_keeps_its_nodeid() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let (nodeid, fh) = scratch.file("f", b"content", OFlags::RDWR);
        remove(&mut scratch, Opcode::UNLINK, "f").unwrap();
        scratch.fs.fds.shed();
        let attr = getattr(&mut scratch, nodeid).unwrap();
        assert_eq!((attr.nlink, attr.size), (0, 7));
        let truncate = FakeExchange::new(Opcode::SETATTR, nodeid).arg(&SetattrIn {
            valid: SetattrValid::SIZE,
            size: 3,
            ..SetattrIn::default()
        });
        assert_eq!(scratch.ask_for::<AttrOut>(truncate).unwrap().attr.size, 3);
        assert_eq!(scratch.read((nodeid, fh), 0, 10).unwrap(), b"con");
        scratch.release((nodeid, fh)).unwrap();
        scratch.fs.forget(nodeid, 1);
        assert_eq!(
            scratch.fs.fds.held(),
            1,
            "the root's descriptor alone is held"
        );
    }
}

#[test]
fn what_is_removed_while_it_is_known_answers_until_it_is_forgotten() {
    // A working directory, or a file that is open with O_PATH: nothing is open below.
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::create_dir(scratch.lower("d")).unwrap();
        fs::write(scratch.lower("f"), b"x").unwrap();
        fs::write(scratch.lower("replaced"), b"xy").unwrap();
        fs::write(scratch.lower("by"), b"xyz").unwrap();
        let dir = scratch.lookup("d");
        let file = scratch.lookup("f");
        let replaced = scratch.lookup("replaced");
        remove(&mut scratch, Opcode::RMDIR, "d").unwrap();
        remove(&mut scratch, Opcode::UNLINK, "f").unwrap();
        let rename = FakeExchange::new(Opcode::RENAME, ROOT_ID)
            .arg(&RenameIn { newdir: ROOT_ID })
            .name("by")
            .name("replaced");
        scratch.ask(rename).unwrap();
        scratch.fs.fds.shed();
        assert_eq!(getattr(&mut scratch, dir).unwrap().nlink, 0);
        assert_eq!(getattr(&mut scratch, file).unwrap().size, 1);
        assert_eq!(getattr(&mut scratch, replaced).unwrap().size, 2);
        assert_eq!(scratch.fs.fds.held(), 4);
        for nodeid in [dir, file, replaced] {
            scratch.fs.forget(nodeid, 1);
        }
        assert_eq!(scratch.fs.fds.held(), 1);
        assert_eq!(scratch.fs.inode_count(), 1);
    }
}

#[test]
fn a_file_that_keeps_a_name_is_not_held() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("a"), b"").unwrap();
        fs::hard_link(scratch.lower("a"), scratch.lower("b")).unwrap();
        let nodeid = scratch.lookup("a");
        remove(&mut scratch, Opcode::UNLINK, "a").unwrap();
        assert_eq!(scratch.fs.fds.held(), 1);
        scratch.fs.fds.shed();
        assert_eq!(getattr(&mut scratch, nodeid).unwrap().nlink, 1);
    }
}

#[test]
fn what_somebody_else_removes_below_is_stale() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::write(scratch.lower("f"), b"").unwrap();
        let nodeid = scratch.lookup("f");
        scratch.fs.fds.shed();
        fs::remove_file(scratch.lower("f")).unwrap();
        assert_eq!(getattr(&mut scratch, nodeid), Err(Errno::STALE));
    }
}

#[test]
fn symlinks_are_themselves_and_lead_nowhere() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        symlink("/etc", scratch.lower("l")).unwrap();
        let entry = lookup_in(&mut scratch, ROOT_ID, "l").unwrap();
        assert_eq!(entry.attr.mode & 0o170_000, 0o120_000);
        let through = lookup_in(&mut scratch, entry.nodeid, "passwd");
        assert_eq!(through.unwrap_err(), Errno::NOTDIR);
        let open =
            scratch.ask(FakeExchange::new(Opcode::OPENDIR, entry.nodeid).arg(&OpenIn::default()));
        assert!(matches!(open, Err(Errno::NOTDIR | Errno::LOOP)));
    }
}

#[test]
fn names_that_would_lead_elsewhere_are_refused() {
    let mut scratch = Scratch::new(&places()[0]);
    fs::create_dir(scratch.lower("d")).unwrap();
    let dir = scratch.lookup("d");
    for name in ["", "a/b", "/", "../..", "/etc", "./d"] {
        assert_eq!(
            lookup_in(&mut scratch, dir, name).unwrap_err(),
            Errno::INVAL
        );
    }
    for name in [".", "..", "", "x/y"] {
        let mkdir = FakeExchange::new(Opcode::MKDIR, dir)
            .arg(&MkdirIn::default())
            .name(name);
        assert_eq!(scratch.ask(mkdir).unwrap_err(), Errno::INVAL);
        assert!(remove(&mut scratch, Opcode::UNLINK, name).is_err());
    }
    let unterminated = FakeExchange::new(Opcode::LOOKUP, dir).bytes(b"abc");
    assert_eq!(scratch.ask(unterminated).unwrap_err(), Errno::IO);
    assert_eq!(
        lookup_in(&mut scratch, dir, &"x".repeat(256)).unwrap_err(),
        Errno::NAMETOOLONG
    );
}

#[test]
fn a_file_handle_on_the_mount_finds_itself_and_its_parent_but_never_leaves() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::create_dir_all(scratch.lower("d/e")).unwrap();
        fs::write(scratch.lower("f"), b"").unwrap();
        let dir = scratch.lookup("d");
        let inner = lookup_in(&mut scratch, dir, "e").unwrap().nodeid;
        let file = scratch.lookup("f");
        assert_eq!(lookup_in(&mut scratch, inner, ".").unwrap().nodeid, inner);
        assert_eq!(lookup_in(&mut scratch, file, ".").unwrap().nodeid, file);
        assert_eq!(lookup_in(&mut scratch, inner, "..").unwrap().nodeid, dir);
        assert_eq!(lookup_in(&mut scratch, dir, "..").unwrap().nodeid, ROOT_ID);
        assert_eq!(
            lookup_in(&mut scratch, ROOT_ID, "..").unwrap_err(),
            Errno::STALE
        );
        assert_eq!(scratch.fs.inodes.nlookup(dir), 2);
        assert_eq!(scratch.fs.inodes.nlookup(file), 2);
        // Moved out of LOWER, it has no parent there.
        let outside = tempfile::TempDir::new_in(&place).unwrap();
        fs::rename(scratch.lower("d/e"), outside.path().join("e")).unwrap();
        assert!(lookup_in(&mut scratch, inner, "..").is_err());
    }
}

#[test]
fn names_are_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let name: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        fs::write(scratch.dir.path().join(OsStr::from_bytes(&name)), b"1").unwrap();
        let request = FakeExchange::new(Opcode::LOOKUP, ROOT_ID)
            .bytes(&name)
            .bytes(&[0]);
        assert_eq!(scratch.ask_for::<EntryOut>(request).unwrap().attr.size, 1);
    }
}

/// Threads look the same few names up and take the counts back, while the files change places.
#[test]
fn counts_stay_exact_when_lookups_race_with_forgets() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 1500;
    for place in places() {
        let scratch = Scratch::new(&place);
        for n in 0..4 {
            fs::write(scratch.lower(&format!("f{n}")), b"").unwrap();
        }
        let fs = &scratch.fs;
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let lower = scratch.dir.path();
                scope.spawn(move || {
                    let mut thread = ServeThread::enter().unwrap();
                    let mut mine: HashMap<u64, u64> = HashMap::new();
                    let mut random = seed as u64 + 1;
                    for round in 0..ROUNDS {
                        // Any generator does: this is Knuth's multiplier.
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        let name = format!("f{}", random >> 33 & 3);
                        let request = FakeExchange::new(Opcode::LOOKUP, ROOT_ID).name(&name);
                        match request.ask_for::<EntryOut>(fs, &mut thread) {
                            Ok(entry) => *mine.entry(entry.nodeid).or_default() += 1,
                            Err(errno) => assert!(matches!(errno, Errno::NOENT | Errno::STALE)),
                        }
                        if random >> 40 & 3 == 0 {
                            for (nodeid, count) in mine.drain() {
                                // What is counted is there.
                                assert!(fs.inode(nodeid).is_ok());
                                fs.forget(nodeid, count);
                            }
                        }
                        if seed == 0 && round % 16 == 0 {
                            std::fs::remove_file(lower.join(&name)).ok();
                            std::fs::write(lower.join(&name), b"").unwrap();
                        }
                    }
                    for (nodeid, count) in mine {
                        assert!(fs.inode(nodeid).is_ok());
                        fs.forget(nodeid, count);
                    }
                });
            }
        });
        assert_eq!(scratch.fs.inode_count(), 1);
    }
}

#[test]
fn a_daemon_that_may_not_open_handles_holds_a_descriptor_per_inode() {
    // FAT, FUSE, overlayfs without nfs_export: handles that lead nowhere once memory is short.
    if !is_root() {
        return;
    }
    std::thread::spawn(|| {
        use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
        let sets = capabilities(None).unwrap();
        let effective = sets.effective.difference(CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, CapabilitySets { effective, ..sets }).unwrap();
        for place in places() {
            let mut scratch = Scratch::new(&place);
            fs::write(scratch.lower("a"), b"").unwrap();
            fs::hard_link(scratch.lower("a"), scratch.lower("b")).unwrap();
            fs::write(scratch.lower("c"), b"").unwrap();
            let a = scratch.lookup("a");
            assert_eq!(scratch.lookup("b"), a);
            let c = scratch.lookup("c");
            assert_ne!(a, c);
            assert_eq!(scratch.fs.fds.held(), 3);
            scratch.fs.fds.shed();
            fs::remove_file(scratch.lower("c")).unwrap();
            assert_eq!(getattr(&mut scratch, c).unwrap().nlink, 0);
            scratch.fs.forget(a, 2);
            scratch.fs.forget(c, 1);
            assert_eq!(scratch.fs.fds.held(), 1);
            assert_eq!(scratch.fs.inode_count(), 1);
        }
    })
    .join()
    .unwrap();
}
