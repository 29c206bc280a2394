//! One directory with its open files: the mount's side or the plain one.

use super::{
    observe::{Attributes, Marks},
    op::{PATHS, SLOTS, Step},
    perform::Outcome,
};
use crate::common::{bash, identity::acting};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, fstat, openat, statat};
use std::{
    collections::HashMap,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// A directory with its open files.
#[derive(Debug)]
pub struct World {
    /// Its path, for the system calls that take no directory.
    pub path: PathBuf,
    /// The directory.
    pub dir: OwnedFd,
    /// The open files; a failed open leaves what was there.
    pub slots: [Option<OwnedFd>; SLOTS],
    seen: HashMap<(u64, u64), Marks>,
}

impl World {
    /// Makes the directory and what is in it at the start.
    pub fn make(path: &Path) -> Self {
        fs::create_dir(path).expect("the world's directory");
        bash(
            path,
            "chmod 777 .
             mkdir -m 777 dir dir/sub setgid acl; mkdir -m 1777 sticky; mkdir -m 700 private
             chgrp 2000 setgid; chmod 2777 setgid
             setfacl -d -m u::rwx,u:1000:rwx,g::rx,g:2000:r,m::rwx,o::rx acl
             mkdir setgid/sub acl/sub; ln -s dir/a link; ln -s nowhere dir/link
             seq 1000 >a; chmod 666 a; ln a dir/b
             seq 5000 >dir/a; chown 1000:2000 dir/a; chmod 6775 dir/a
             setfattr -n user.one -v one dir/a; setcap cap_net_raw+ep dir/a
             echo x >sticky/a; chown 3000:3000 sticky/a
             echo y >sticky/b; chown 1000:1000 sticky/b
             seq 9 >setgid/a; seq 9 >acl/a; setfattr -n user.one -v 1 a setgid/a
             echo private >private/a",
        );
        let dir = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .expect("the world's directory");
        let file = |name| openat(&dir, name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok();
        Self {
            path: path.into(),
            slots: [file("a"), file("dir/a"), file("setgid/a"), None],
            dir,
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
                    Attributes::of(&stat, self.seen.get(&inode).copied(), same_as)
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
