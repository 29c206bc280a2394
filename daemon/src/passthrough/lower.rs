//! LOWER, and how names below it are reached without ever leaving it.
//!
//! With privilege, the daemon works on a clone of the mount tree at LOWER, made private and
//! attached nowhere (open_tree(2)), before its own mount exists. Whatever is mounted later, the
//! daemon's own mount above all, is not in the clone: no lookup below LOWER can walk into our own
//! mount and wait for itself. The price: **mounts made below LOWER after the start are not seen,
//! and file systems mounted there at the start stay in use until the daemon ends**, even if they
//! are unmounted from the tree that everybody else sees.
//!
//! Without privilege there is one mount, and every lookup is told to stay on it
//! (`RESOLVE_NO_XDEV`): a directory with another mount on it is answered `EXDEV`.

use super::{mount_fd::LowerMounts, sys};
use crate::{
    error::{Error, Result},
    fuse::Errno,
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags},
    mount::OpenTreeFlags,
};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{PoisonError, RwLock},
};

/// The lower directory and its mounts.
#[derive(Debug)]
pub struct Lower {
    root: OwnedFd,
    private_tree: bool,
    mounts: LowerMounts,
    /// The devices seen so far, as [`device_of`](super::inode::device_of); LOWER's own is the
    /// first.
    devices: RwLock<Vec<u64>>,
}

impl Lower {
    /// Opens `path`, which is followed if it is a symlink.
    ///
    /// # Errors
    ///
    /// What open_tree(2), mount_setattr(2) or openat2(2) say.
    pub fn open(path: &Path) -> Result<Self> {
        let (root, private_tree) = match clone_tree(path) {
            Ok(root) => (root, true),
            Err(Errno::PERM | Errno::NOSYS) => (open_single_mount(path)?, false),
            Err(errno) => return Err(clone_error(path, errno)),
        };
        if !private_tree {
            tracing::info!(
                "no privilege to clone the mounts of {}: other mounts below it are not crossed",
                path.display()
            );
        }
        Ok(Self::of(root, private_tree))
    }

    /// The private tree whose root a predecessor had open.
    pub fn private(root: OwnedFd) -> Self {
        Self::of(root, true)
    }

    fn of(root: OwnedFd, private_tree: bool) -> Self {
        let mounts = LowerMounts::new(root.as_fd());
        Self {
            root,
            private_tree,
            mounts,
            devices: RwLock::default(),
        }
    }

    /// Devices that a predecessor saw, each with its number as in [`number_tag`](Self::number_tag).
    pub(super) fn restore_devices(&self, mut seen: Vec<(u64, u64)>) {
        /// No device has this number.
        const NONE: u64 = u64::MAX;
        seen.sort_unstable();
        seen.dedup();
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        for (index, device) in seen {
            let index = index as usize;
            if devices.len() <= index {
                devices.resize(index + 1, NONE);
            }
            if devices[index] == NONE {
                devices[index] = device;
            }
        }
    }

    /// An `O_PATH` descriptor of LOWER.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether lookups happen in a private clone of the mount tree, so that any system call that
    /// takes a directory and a name is safe.
    pub fn is_private_tree(&self) -> bool {
        self.private_tree
    }

    /// The mounts seen so far.
    pub fn mounts(&self) -> &LowerMounts {
        &self.mounts
    }

    /// An `O_PATH` descriptor of `name` in `dir`; a symlink is not followed.
    ///
    /// # Errors
    ///
    /// Those of openat2(2). `EXDEV` if, without privilege, another mount lies there.
    pub fn open_name(&self, dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if self.private_tree {
            return rustix::fs::openat(dir, name, flags, Mode::empty());
        }
        let stay = ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
        loop {
            match rustix::fs::openat2(dir, name, flags, Mode::empty(), stay) {
                // The kernel could not prove that a concurrent rename led nowhere outside.
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    /// What statx(2) says of `fd` itself.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub fn stat_fd(&self, fd: BorrowedFd<'_>) -> Result<Statx, Errno> {
        rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, self.statx_mask())
    }

    /// What statx(2) says of `name` in `dir`, of a symlink itself. Only in a private tree.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub(super) fn stat_name(&self, dir: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        rustix::fs::statx(dir, name, flags, self.statx_mask())
    }

    /// What tells inode numbers of `device` from those of other devices below LOWER: 0 for the
    /// first device it is asked of (LOWER's own), else a number in the upper 16 bits. Lower inode
    /// numbers of 2^48 and more, or more than 65535 devices, may collide.
    pub fn number_tag(&self, device: u64) -> u64 {
        let position = |devices: &[u64]| devices.iter().position(|&seen| seen == device);
        let known = position(&self.devices.read().unwrap_or_else(PoisonError::into_inner));
        let index = known.unwrap_or_else(|| {
            let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
            position(&devices).unwrap_or_else(|| {
                devices.push(device);
                devices.len() - 1
            })
        });
        (index as u64).min(u64::from(u16::MAX)) << 48
    }

    fn statx_mask(&self) -> StatxFlags {
        StatxFlags::BASIC_STATS | StatxFlags::BTIME | self.mounts.statx_mask()
    }
}

fn clone_tree(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, flags)?;
    // A clone is in the peer group of what it was cloned from: without this, a later mount on the
    // original would propagate into it.
    sys::make_tree_private(tree.as_fd())?;
    Ok(tree)
}

fn open_single_mount(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| Error::path("cannot open the lower directory", path, e))
}

fn clone_error(path: &Path, errno: Errno) -> Error {
    let error = Error::path(
        "cannot clone the mounts of the lower directory",
        path,
        errno,
    );
    match errno {
        Errno::INVAL => error.with_remedy(
            "it lies on an unbindable mount, or in another mount namespace: try `mount --make-private` on that mount",
        ),
        _ => error,
    }
}
