//! What makes, moves and removes names, beside the same system calls on a twin directory.

use super::testing::{Scratch, is_root, places};
use crate::fuse::{Errno, testing::FakeExchange};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, RenameFlags, XattrFlags},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};
use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
};
use tempfile::TempDir;
use transport::wire::*;

/// What both directories start with.
fn prepare(dir: &Path) {
    fs::create_dir_all(dir.join("d/sub")).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::write(dir.join("f"), b"f").unwrap();
    fs::write(dir.join("g"), b"gg").unwrap();
    std::os::unix::fs::symlink("f", dir.join("l")).unwrap();
}

/// Names and kinds below `dir`.
fn tree(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let path = entry.path();
        let content = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        all.push(format!(
            "{path:?} {:o} {} {content:?}",
            meta.mode(),
            meta.nlink()
        ));
        if meta.is_dir() {
            all.extend(tree(&path));
        }
    }
    let dir = format!("{}/", dir.display());
    all.iter_mut()
        .for_each(|line| *line = line.replace(&dir, ""));
    all.sort();
    all
}

/// Does the same to the mount and, by system call, to a twin: the results must be equal.
fn same(
    what: &str,
    ask: impl Fn(&mut Scratch) -> Result<(), Errno>,
    call: impl Fn(&Path) -> Result<(), Errno>,
) {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        prepare(scratch.dir.path());
        let twin = TempDir::new_in(&place).unwrap();
        prepare(twin.path());
        let asked = ask(&mut scratch);
        assert_eq!(asked, call(twin.path()), "{what} in {place:?}");
        assert_eq!(
            tree(scratch.dir.path()),
            tree(twin.path()),
            "{what} in {place:?}"
        );
    }
}

fn named(opcode: Opcode, name: &str) -> FakeExchange {
    FakeExchange::new(opcode, ROOT_ID).name(name)
}

#[test]
fn mkdir_does_as_mkdir() {
    for name in ["new", "f", "d", "l", &"x".repeat(256)] {
        for mode in [0o755, 0o1777, 0o2770, 0o000] {
            same(
                &format!("mkdir {name} {mode:o}"),
                |scratch| {
                    let arg = MkdirIn {
                        mode: mode | 0o040_000,
                        umask: 0o022,
                    };
                    scratch.ask(named(Opcode::MKDIR, name).arg(&arg)).map(drop)
                },
                |twin| {
                    // What the kernel leaves of the mode before it asks a file system.
                    let mode = Mode::from_raw_mode(mode & 0o1777 & !0o022);
                    rustix::fs::mkdir(twin.join(name), mode)?;
                    rustix::fs::chmodat(CWD, twin.join(name), mode, AtFlags::empty())
                },
            );
        }
    }
}

#[test]
fn unlink_and_rmdir_do_as_unlink_and_rmdir() {
    for name in ["f", "d", "empty", "l", "missing"] {
        same(
            &format!("unlink {name}"),
            |scratch| scratch.ask(named(Opcode::UNLINK, name)).map(drop),
            |twin| rustix::fs::unlink(twin.join(name)),
        );
        same(
            &format!("rmdir {name}"),
            |scratch| scratch.ask(named(Opcode::RMDIR, name)).map(drop),
            |twin| rustix::fs::rmdir(twin.join(name)),
        );
    }
}

#[test]
fn rename_does_as_renameat2_with_every_flag() {
    let names = ["f", "g", "d", "empty", "l", "missing"];
    let flags = [0, 1, 2, 3, 4, 5, 1 << 10];
    for (old, new) in names.iter().flat_map(|old| names.map(|new| (*old, new))) {
        for flags in flags {
            same(
                &format!("rename {old} {new} {flags}"),
                |scratch| {
                    let arg = Rename2In {
                        newdir: ROOT_ID,
                        flags,
                        padding: 0,
                    };
                    scratch
                        .ask(named(Opcode::RENAME2, old).arg(&arg).name(new))
                        .map(drop)
                },
                |twin| {
                    let flags = RenameFlags::from_bits_retain(flags);
                    rustix::fs::renameat_with(CWD, twin.join(old), CWD, twin.join(new), flags)
                },
            );
        }
    }
}

#[test]
fn link_does_as_link() {
    for (old, new) in [
        ("f", "new"),
        ("f", "g"),
        ("d", "new"),
        ("l", "new"),
        ("f", "f"),
    ] {
        same(
            &format!("link {old} {new}"),
            |scratch| {
                let oldnodeid = scratch.lookup(old);
                let request = named(Opcode::LINK, new).arg(&LinkIn { oldnodeid });
                let entry = scratch.ask_for::<EntryOut>(request)?;
                assert_eq!(entry.nodeid, oldnodeid);
                assert_eq!(scratch.fs.inodes.nlookup(oldnodeid), 2);
                Ok(())
            },
            |twin| rustix::fs::link(twin.join(old), twin.join(new)),
        );
    }
}

#[test]
fn symlink_does_as_symlink() {
    let long = "x".repeat(4095);
    for (target, name) in [
        ("anything", "new"),
        ("/abs/../x", "new"),
        (&long, "new"),
        ("x", "f"),
    ] {
        same(
            &format!("symlink {target} {name}"),
            |scratch| {
                let request = named(Opcode::SYMLINK, name).name(target);
                let nodeid = scratch.ask_for::<EntryOut>(request)?.nodeid;
                let read = scratch
                    .ask(FakeExchange::new(Opcode::READLINK, nodeid))
                    .unwrap();
                assert_eq!(read, target.as_bytes());
                Ok(())
            },
            |twin| rustix::fs::symlink(target, twin.join(name)),
        );
    }
}

#[test]
fn mknod_makes_every_kind_with_its_device_number() {
    if !is_root() {
        return;
    }
    for (kind, device) in [
        (FileType::RegularFile, (0, 0)),
        (FileType::Fifo, (0, 0)),
        (FileType::Socket, (0, 0)),
        (FileType::CharacterDevice, (1, 3)),
        (FileType::BlockDevice, (4095, (1 << 20) - 1)),
        (FileType::CharacterDevice, (259, 70_000)),
    ] {
        for place in places() {
            let mut scratch = Scratch::new(&place);
            let arg = MknodIn {
                mode: kind.as_raw_mode() | 0o666,
                rdev: super::attr::encode_device(device.0, device.1),
                umask: 0o027,
                padding: 0,
            };
            let request = named(Opcode::MKNOD, "n").arg(&arg);
            let entry: EntryOut = scratch.ask_for(request).unwrap();
            let direct = fs::symlink_metadata(scratch.lower("n")).unwrap();
            assert_eq!(direct.mode(), kind.as_raw_mode() | 0o640);
            assert_eq!(direct.rdev(), rustix::fs::makedev(device.0, device.1));
            assert_eq!(entry.attr.mode, direct.mode());
            assert_eq!(entry.attr.rdev, arg.rdev);
        }
    }
}

#[test]
fn a_renamed_directory_and_what_is_below_it_keep_their_nodeids() {
    for place in places() {
        let mut scratch = Scratch::new(&place);
        prepare(scratch.dir.path());
        let dir = scratch.lookup("d");
        let sub = FakeExchange::new(Opcode::LOOKUP, dir).name("sub");
        let sub = scratch.ask_for::<EntryOut>(sub).unwrap().nodeid;
        let empty = scratch.lookup("empty");
        let rename = named(Opcode::RENAME, "d")
            .arg(&RenameIn { newdir: empty })
            .name("moved");
        scratch.ask(rename).unwrap();
        scratch.fs.fds.shed();
        let moved = FakeExchange::new(Opcode::LOOKUP, empty).name("moved");
        assert_eq!(scratch.ask_for::<EntryOut>(moved).unwrap().nodeid, dir);
        let again = FakeExchange::new(Opcode::LOOKUP, dir).name("sub");
        assert_eq!(scratch.ask_for::<EntryOut>(again).unwrap().nodeid, sub);
    }
}

#[test]
fn what_is_made_belongs_to_the_caller() {
    if !is_root() {
        return;
    }
    for place in places() {
        let mut scratch = Scratch::new(&place);
        let by = |request: FakeExchange| request.by(1234, 2345);
        let requests = [
            by(named(Opcode::MKDIR, "a")).arg(&MkdirIn {
                mode: 0o755,
                umask: 0,
            }),
            by(named(Opcode::MKNOD, "b")).arg(&MknodIn {
                mode: 0o100_644,
                ..MknodIn::default()
            }),
            by(named(Opcode::SYMLINK, "c")).name("target"),
        ];
        for request in requests {
            let attr = scratch.ask_for::<EntryOut>(request).unwrap().attr;
            assert_eq!((attr.uid, attr.gid), (1234, 2345));
        }
        // The thread is itself again.
        let own = named(Opcode::MKDIR, "own").arg(&MkdirIn {
            mode: 0o755,
            umask: 0,
        });
        let attr = scratch.ask_for::<EntryOut>(own).unwrap().attr;
        assert_eq!((attr.uid, attr.gid), (0, 0));
        let nobody = named(Opcode::MKDIR, "x")
            .by(u32::MAX, 0)
            .arg(&MkdirIn::default());
        assert_eq!(scratch.ask(nobody), Err(Errno::OVERFLOW));
    }
}

#[test]
fn a_setgid_directory_hands_its_group_and_its_bit_down() {
    if !is_root() {
        return;
    }
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::create_dir(scratch.lower("d")).unwrap();
        std::os::unix::fs::chown(scratch.lower("d"), Some(1), Some(777)).unwrap();
        fs::set_permissions(scratch.lower("d"), fs::Permissions::from_mode(0o2777)).unwrap();
        let dir = scratch.lookup("d");
        let in_dir = |opcode, name| FakeExchange::new(opcode, dir).by(1234, 2345).name(name);
        let sub = in_dir(Opcode::MKDIR, "sub").arg(&MkdirIn {
            mode: 0o755,
            umask: 0,
        });
        let attr = scratch.ask_for::<EntryOut>(sub).unwrap().attr;
        assert_eq!((attr.uid, attr.gid, attr.mode), (1234, 777, 0o042_755));
        let file = MknodIn {
            mode: 0o102_775,
            ..MknodIn::default()
        };
        // One who is not in the directory's group does not get sgid on a file of that group.
        let stranger = in_dir(Opcode::MKNOD, "stranger").arg(&file);
        let attr = scratch.ask_for::<EntryOut>(stranger).unwrap().attr;
        assert_eq!((attr.gid, attr.mode), (777, 0o100_775));
        // One who is, by a supplementary group that the request names, does.
        let mut member = in_dir(Opcode::MKNOD, "member").arg(&file);
        member = member.extension(
            EXT_GROUPS,
            &[1u32.to_ne_bytes(), 777u32.to_ne_bytes()].concat(),
        );
        let attr = scratch.ask_for::<EntryOut>(member).unwrap().attr;
        assert_eq!((attr.gid, attr.mode), (777, 0o102_775));
        // And the next one is a stranger again.
        let stranger = in_dir(Opcode::MKNOD, "stranger2").arg(&file);
        let attr = scratch.ask_for::<EntryOut>(stranger).unwrap().attr;
        assert_eq!(attr.mode, 0o100_775);
    }
}

#[test]
fn a_default_acl_takes_the_place_of_the_umask() {
    // user::rwx, group::r-x, other::--- in the form of the xattr (linux/posix_acl_xattr.h).
    let acl: Vec<u8> = [2u32.to_ne_bytes().to_vec()]
        .into_iter()
        .chain([(1u16, 7u16), (4, 5), (32, 0)].map(|(tag, perm)| {
            let id = u32::MAX.to_ne_bytes();
            [&tag.to_ne_bytes()[..], &perm.to_ne_bytes(), &id].concat()
        }))
        .flatten()
        .collect();
    let mut scratch = Scratch::new(&places()[0]);
    fs::create_dir(scratch.lower("d")).unwrap();
    let name = c"system.posix_acl_default";
    let set = rustix::fs::setxattr(scratch.lower("d"), name, &acl, XattrFlags::empty());
    if set == Err(Errno::OPNOTSUPP) {
        return;
    }
    set.unwrap();
    let dir = scratch.lookup("d");
    let mkdir = |parent, umask| {
        let arg = MkdirIn { mode: 0o777, umask };
        FakeExchange::new(Opcode::MKDIR, parent)
            .arg(&arg)
            .name("sub")
    };
    let attr = scratch.ask_for::<EntryOut>(mkdir(dir, 0o077)).unwrap().attr;
    assert_eq!(attr.mode & 0o777, 0o750);
    let attr = scratch
        .ask_for::<EntryOut>(mkdir(ROOT_ID, 0o077))
        .unwrap()
        .attr;
    assert_eq!(attr.mode & 0o777, 0o700);
}

#[test]
fn a_whiteout_is_left_where_a_name_was() {
    if !is_root() {
        return;
    }
    for place in places() {
        let mut scratch = Scratch::new(&place);
        prepare(scratch.dir.path());
        let arg = Rename2In {
            newdir: ROOT_ID,
            flags: 4,
            padding: 0,
        };
        scratch
            .ask(named(Opcode::RENAME2, "f").arg(&arg).name("moved"))
            .unwrap();
        let left = fs::symlink_metadata(scratch.lower("f")).unwrap();
        assert!(left.file_type().is_char_device());
        assert_eq!(left.rdev(), 0);
    }
}

#[test]
fn what_the_kernel_allowed_is_not_refused_below() {
    // The caller may write to the directory by a supplementary group or a capability, of which
    // the request does not tell.
    if !is_root() {
        return;
    }
    for place in places() {
        let mut scratch = Scratch::new(&place);
        fs::create_dir(scratch.lower("d")).unwrap();
        fs::set_permissions(scratch.lower("d"), fs::Permissions::from_mode(0o770)).unwrap();
        let dir = scratch.lookup("d");
        let mkdir = FakeExchange::new(Opcode::MKDIR, dir)
            .by(1234, 1234)
            .arg(&MkdirIn {
                mode: 0o755,
                umask: 0,
            })
            .name("sub");
        let attr = scratch.ask_for::<EntryOut>(mkdir).unwrap().attr;
        assert_eq!((attr.uid, attr.gid), (1234, 1234));
    }
}

#[test]
fn an_unprivileged_daemon_links_by_the_magic_link() {
    std::thread::spawn(|| {
        let sets = capabilities(None).unwrap();
        let effective = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective, ..sets }).unwrap();
        let mut scratch = Scratch::new(&places()[0]);
        fs::write(scratch.lower("f"), b"").unwrap();
        let oldnodeid = scratch.lookup("f");
        let link = named(Opcode::LINK, "g").arg(&LinkIn { oldnodeid });
        assert_eq!(scratch.ask_for::<EntryOut>(link).unwrap().nodeid, oldnodeid);
        let mkdir = named(Opcode::MKDIR, "d").arg(&MkdirIn {
            mode: 0o777,
            umask: 0o077,
        });
        let attr = scratch.ask_for::<EntryOut>(mkdir).unwrap().attr;
        assert_eq!(attr.mode, 0o040_700);
        scratch.ask(named(Opcode::UNLINK, "f")).unwrap();
        scratch.ask(named(Opcode::RMDIR, "d")).unwrap();
    })
    .join()
    .unwrap();
}
