//! One directory with its open files: the mount's side or the plain one.

use super::{
    observe::{Attributes, Marks, Scope},
    op::{PATHS, SLOTS, Step},
    perform::Outcome,
};
use crate::common::{acl, identity::acting};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, XattrFlags, fstat, openat, setxattr, statat};
use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
};

use super::strategy::{CAPABILITY, DEFAULT_ACL};

/// A directory with its open files.
#[derive(Debug)]
pub struct World {
    /// Its path, for the system calls that take no directory.
    pub path: PathBuf,
    /// The directory.
    pub dir: OwnedFd,
    /// The open files; a failed open leaves what was there.
    pub slots: [Option<OwnedFd>; SLOTS],
    /// What is compared.
    pub scope: Scope,
    /// Whether space has been allocated that may not be written yet.
    pub has_unwritten: bool,
    seen: HashMap<(u64, u64), Marks>,
}

impl World {
    /// Makes the directory and what is in it at the start.
    pub fn make(path: &Path, scope: Scope) -> Self {
        fs::create_dir(path).expect("the world's directory");
        furnish(path).expect("what is in the world at the start");
        let dir = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .expect("the world's directory");
        let file = |name| openat(&dir, name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok();
        Self {
            path: path.into(),
            slots: [file("a"), file("dir/a"), file("setgid/a"), None],
            dir,
            scope,
            has_unwritten: false,
            seen: HashMap::new(),
        }
    }

    /// Does one step.
    pub fn perform(&mut self, step: &Step) -> Outcome {
        acting(step.who, step.umask, || self.carry_out(&step.op))
    }

    /// Looks at every path and every open file, as root.
    pub fn observe(&mut self) -> Vec<(String, Option<Attributes>)> {
        let mut stats: Vec<(String, Option<Stat>)> = Vec::new();
        for (slot, file) in self.slots.iter().enumerate() {
            let stat = file
                .as_ref()
                .map(|file| fstat(file).expect("fstat of an open file"));
            stats.push((format!("open file {slot}"), stat));
        }
        for path in PATHS {
            let stat = statat(&self.dir, *path, AtFlags::SYMLINK_NOFOLLOW).ok();
            stats.push(((*path).to_owned(), stat));
        }
        let root = fstat(&self.dir).expect("fstat of the world's directory");
        stats.push((".".to_owned(), Some(root)));

        let inodes: Vec<_> = stats
            .iter()
            .map(|(_, stat)| stat.map(|stat| Marks::of(&stat).inode))
            .collect();
        let first = |inode| inodes.iter().position(|&other| other == Some(inode));
        let seen = stats
            .iter()
            .map(|(path, stat)| {
                let attributes = stat.map(|stat| {
                    let inode = Marks::of(&stat).inode;
                    let same_as = first(inode).expect("its own position at least");
                    Attributes::of(&stat, self.seen.get(&inode).copied(), same_as, self.scope)
                });
                (path.clone(), attributes)
            })
            .collect();
        self.seen = stats
            .iter()
            .filter_map(|(_, stat)| *stat)
            .map(|stat| (Marks::of(&stat).inode, Marks::of(&stat)))
            .collect();
        seen
    }
}

/// Directories and files at the start: of root and of others, with sticky and set-group-id
/// directories, a default ACL, links of both kinds, attributes, capabilities, suid and sgid.
fn furnish(world: &Path) -> io::Result<()> {
    let chmod =
        |name: &str, mode| fs::set_permissions(world.join(name), Permissions::from_mode(mode));
    let own = |name: &str, uid, gid| chown(world.join(name), Some(uid), Some(gid));
    let attribute = |name: &str, key: &str, value: &[u8]| {
        setxattr(world.join(name), key, value, XattrFlags::empty()).map_err(io::Error::from)
    };
    chmod("", 0o777)?;
    let dirs = [
        ("dir", 0o777),
        ("dir/sub", 0o777),
        ("setgid", 0o2777),
        ("acl", 0o777),
        ("sticky", 0o1777),
        ("private", 0o700),
    ];
    for (name, _) in dirs {
        fs::create_dir(world.join(name))?;
    }
    own("setgid", 0, 2000)?;
    for (name, mode) in dirs {
        chmod(name, mode)?;
    }
    attribute("acl", "system.posix_acl_default", &acl(DEFAULT_ACL))?;
    fs::create_dir(world.join("setgid/sub"))?;
    fs::create_dir(world.join("acl/sub"))?;
    let files = [
        ("a", 3893, 0o666, 0, 0),
        ("dir/a", 23893, 0o6775, 1000, 2000),
        ("sticky/a", 2, 0o644, 3000, 3000),
        ("sticky/b", 2, 0o644, 1000, 1000),
        ("setgid/a", 18, 0o644, 0, 2000),
        ("acl/a", 18, 0o644, 0, 0),
        ("private/a", 8, 0o644, 0, 0),
    ];
    for (name, len, mode, uid, gid) in files {
        let content: Vec<_> = (0..len).map(|at: u32| (at % 251) as u8).collect();
        fs::write(world.join(name), content)?;
        own(name, uid, gid)?;
        chmod(name, mode)?;
    }
    fs::hard_link(world.join("a"), world.join("dir/b"))?;
    symlink("dir/a", world.join("link"))?;
    symlink("nowhere", world.join("dir/link"))?;
    attribute("a", "user.one", b"1")?;
    attribute("setgid/a", "user.one", b"1")?;
    attribute("dir/a", "user.one", b"one")?;
    attribute("dir/a", "security.capability", CAPABILITY)
}
