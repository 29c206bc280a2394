//! The mounts of the lower tree, each with the descriptor that its file handles are opened by.

use super::{file_handle::FileHandle, inode::device_of, proc_fd};
use crate::fuse::Errno;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags},
    thread::CapabilitySet,
};
use std::{
    collections::HashMap,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Arc, PoisonError, RwLock},
};

/// File systems of which this daemon knows that a handle leads to its inode for as long as the
/// inode exists, whether or not it is in memory (`f_type` of statfs(2), include/uapi/linux/magic.h
/// and overlayfs's own): ext2/3/4, xfs, btrfs, tmpfs, f2fs, bcachefs, erofs, overlayfs (which has
/// handles with `nfs_export=on` only).
///
/// Others, as FAT and FUSE itself, encode handles that lead nowhere once the inode left memory.
const RELIABLE_HANDLES: [u64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0xF2F5_2010,
    0xCA45_1A4E,
    0xE0F5_E1E2,
    0x794C_7630,
];

/// File systems that are told nothing when a descriptor is closed: their files have no `flush`
/// (`ext4_file_operations`, fs/ext4/file.c; `shmem_file_operations`, mm/shmem.c; `xfs_file_operations`,
/// fs/xfs/xfs_file.c; `btrfs_file_operations`, fs/btrfs/file.c).
const CLOSED_UNTOLD: [u64; 4] = [0xEF53, 0x0102_1994, 0x5846_5342, 0x9123_683E];

/// One mount of the lower tree.
#[derive(Debug)]
pub struct LowerMount {
    id: u64,
    /// Present if the mount's inodes are reached by handle.
    handle_fd: Option<OwnedFd>,
    /// See [`closes_untold`](Self::closes_untold).
    closes_untold: bool,
}

impl LowerMount {
    fn new(id: u64, handle_fd: Option<OwnedFd>) -> Self {
        let magic = handle_fd
            .as_ref()
            .and_then(|fd| rustix::fs::fstatfs(fd).ok())
            .map(|stat| stat.f_type as u64);
        Self {
            id,
            handle_fd,
            closes_untold: magic.is_some_and(|magic| CLOSED_UNTOLD.contains(&magic)),
        }
    }

    /// Whether closing a descriptor of a file, while others are open, is known to do nothing below.
    pub(super) fn closes_untold(&self) -> bool {
        self.closes_untold
    }

    /// The mount's id, as unique as [`LowerMounts::unique_ids`] says; where it is not, the mount
    /// is pinned by a descriptor, and with it its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of [`handle_fd`](Self::handle_fd).
    pub(super) fn raw_handle_fd(&self) -> Option<RawFd> {
        self.handle_fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The descriptor for open_by_handle_at(2); `None` if the mount's inodes hold descriptors.
    pub fn handle_fd(&self) -> Option<BorrowedFd<'_>> {
        self.handle_fd.as_ref().map(AsFd::as_fd)
    }
}

/// Every mount of the lower tree that has been seen. They stay until the end: the tree is a
/// private clone, so there are never more than it had at the start, and automounts.
#[derive(Debug)]
pub struct LowerMounts {
    unique_ids: bool,
    may_open_handles: bool,
    table: RwLock<HashMap<u64, Arc<LowerMount>>>,
}

impl LowerMounts {
    /// Finds out on `root`, a descriptor of LOWER, what this kernel and user can do.
    pub fn new(root: BorrowedFd<'_>) -> Self {
        // AT_HANDLE_MNT_ID_UNIQUE is refused with EINVAL before Linux 6.12; a file system without
        // handles refuses either kind alike, and then statx(2) is asked for the same kind.
        let unique_ids = !matches!(FileHandle::of(root, c"", true), Err(Errno::INVAL));
        let may_open_handles = rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_READ_SEARCH));
        Self {
            unique_ids,
            may_open_handles,
            table: RwLock::default(),
        }
    }

    /// Whether ids are never used again (Linux 6.12), and so asked for.
    pub fn unique_ids(&self) -> bool {
        self.unique_ids
    }

    /// The bit that makes statx(2) tell the same kind of mount id.
    pub fn statx_mask(&self) -> StatxFlags {
        /// `STATX_MNT_ID_UNIQUE`, since Linux 6.8.
        const MNT_ID_UNIQUE: u32 = 0x4000;
        if self.unique_ids {
            StatxFlags::from_bits_retain(MNT_ID_UNIQUE)
        } else {
            StatxFlags::MNT_ID
        }
    }

    /// The ids of the mounts seen so far.
    pub fn ids(&self) -> Vec<u64> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.keys().copied().collect()
    }

    /// The mount with this id, if it has been seen.
    pub fn get(&self, id: u64) -> Option<Arc<LowerMount>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&id).map(Arc::clone)
    }

    /// A mount that a predecessor saw.
    pub(super) fn restore(&self, id: u64, handle_fd: Option<OwnedFd>) -> Arc<LowerMount> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            table
                .entry(id)
                .or_insert_with(|| Arc::new(LowerMount::new(id, handle_fd))),
        )
    }

    /// The mount with this id, on which `object` (an `O_PATH` descriptor) with `handle` and `stat`
    /// lies.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` if it has not been seen and there is no descriptor for it.
    pub fn get_or_add(
        &self,
        id: u64,
        object: BorrowedFd<'_>,
        handle: Option<&FileHandle>,
        stat: &Statx,
    ) -> Result<Arc<LowerMount>, Errno> {
        if let Some(mount) = self.get(id) {
            return Ok(mount);
        }
        let handle_fd = match handle {
            Some(handle) if self.may_open_handles => probe(object, handle, stat)?,
            _ => None,
        };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mount = table
            .entry(id)
            .or_insert_with(|| Arc::new(LowerMount::new(id, handle_fd)));
        Ok(Arc::clone(mount))
    }
}

/// A descriptor by which the handles of `object`'s mount can be opened, if they can.
fn probe(
    object: BorrowedFd<'_>,
    handle: &FileHandle,
    stat: &Statx,
) -> Result<Option<OwnedFd>, Errno> {
    let magic = rustix::fs::fstatfs(object)?.f_type as u64;
    if !RELIABLE_HANDLES.contains(&magic) {
        return Ok(None);
    }
    // The kernel wants a real file, not O_PATH. The first object seen on a mount is its root, a
    // directory unless a single file is bound: a regular one is opened without side effects.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME;
    let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
    let opened = match kind {
        FileType::Directory => {
            rustix::fs::openat(object, c".", flags | OFlags::DIRECTORY, Mode::empty())
        }
        FileType::RegularFile => proc_fd::reopen(object, flags | OFlags::NONBLOCK),
        _ => return Ok(None),
    };
    let mount = match opened {
        Ok(mount) => mount,
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => return Err(errno),
        Err(_) => return Ok(None),
    };
    let found = match handle.open(mount.as_fd(), libc::O_PATH | libc::O_CLOEXEC) {
        Ok(found) => found,
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => return Err(errno),
        Err(_) => return Ok(None),
    };
    let found = rustix::fs::statx(&found, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    let same = found.stx_ino == stat.stx_ino && device_of(&found) == device_of(stat);
    Ok(same.then_some(mount))
}
