//! Which directory an inode lies below: asked by rules.
//!
//! A directory is asked for its parent, and so on up to the root of LOWER: that is true at the moment,
//! whoever moved what. A file has no such way up: it lies where the mount found, made, linked or moved
//! it last. One that it has never found in a directory, or whose directory the kernel has forgotten,
//! lies nowhere.

use super::{
    Passthrough,
    inode::{Inode, device_of},
};
use crate::{
    error::{Error, Result},
    fuse::Errno,
};
use rustix::fs::{FileType, Mode, OFlags, Statx};
use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Steps up at most: more than a path that can be named has.
const STEPS_MAX: usize = 4096;

impl Passthrough {
    /// As [`FileSystem::is_within`](crate::fuse::FileSystem::is_within).
    pub(super) fn lies_within(&self, nodeid: u64, directory: u64) -> bool {
        let within = self.climb_out(nodeid, directory);
        within.unwrap_or_else(|errno| {
            tracing::debug!(nodeid, %errno, "an inode lies nowhere");
            false
        })
    }

    fn climb_out(&self, nodeid: u64, directory: u64) -> Result<bool, Errno> {
        let inode = self.inode(nodeid)?;
        let start = match inode.kind() {
            FileType::Directory => inode,
            _ => self.inode(inode.parent())?,
        };
        if self.shown_number_of(&start) == directory {
            return Ok(true);
        }
        let root = self.inodes.root();
        let fd = self.path_fd(&start)?;
        let mut below = self.lower.stat_fd(fd.as_fd())?;
        let mut up = open_parent(fd.as_fd())?;
        for _ in 0..STEPS_MAX {
            if root.matches(&below) {
                return Ok(false);
            }
            let stat = self.lower.stat_fd(up.as_fd())?;
            if self.shown_number_in(&stat) == directory {
                return Ok(true);
            }
            // The root of a mount tree is its own parent.
            if (device_of(&stat), stat.stx_ino) == (device_of(&below), below.stx_ino) {
                return Ok(false);
            }
            up = open_parent(up.as_fd())?;
            below = stat;
        }
        Ok(false)
    }

    fn shown_number_of(&self, inode: &Inode) -> u64 {
        inode.shown_number(inode.number())
    }

    fn shown_number_in(&self, stat: &Statx) -> u64 {
        stat.stx_ino ^ self.lower.number_tag(device_of(stat))
    }

    /// As [`FileSystem::number_of`](crate::fuse::FileSystem::number_of).
    pub(super) fn number_of_directory(&self, path: &str) -> Result<u64> {
        let failed = |errno: Errno| {
            let remedy = "a subtree is named by its path from the root of the mount";
            let path = self.config.lower.join(path);
            Error::path("cannot use the subtree", path, errno).with_remedy(remedy)
        };
        let mut at: Option<OwnedFd> = None;
        for step in path.split('/').filter(|step| !step.is_empty()) {
            let name = CString::new(step).map_err(|_| failed(Errno::INVAL))?;
            let dir = at.as_ref().map_or(self.lower.root(), AsFd::as_fd);
            at = Some(self.lower.open_name(dir, &name).map_err(failed)?);
        }
        let fd = at.as_ref().map_or(self.lower.root(), AsFd::as_fd);
        let stat = self.lower.stat_fd(fd).map_err(failed)?;
        if super::inode::kind_of(&stat) != FileType::Directory {
            return Err(failed(Errno::NOTDIR));
        }
        Ok(self.shown_number_in(&stat))
    }
}

fn open_parent(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c"..", flags, Mode::empty())
}
