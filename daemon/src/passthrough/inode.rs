//! One inode of the lower tree that the kernel knows by a nodeid.

use super::{file_handle::FileHandle, ledger::Recorded, mount_fd::LowerMount};
use crate::fuse::Errno;
use rustix::fs::{FileType, Statx};
use std::{
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use transport::lookups::LookupRef;

/// What makes two directory entries the same inode.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Identity {
    /// A file handle of a mount.
    Handle {
        /// [`LowerMount::id`].
        mount: u64,
        /// Unique in the mount's file system, forever.
        handle: FileHandle,
    },
    /// A number that is unique while the inode is held by a descriptor, which is as long as the
    /// [`Inode`] exists.
    Number {
        /// [`LowerMount::id`].
        mount: u64,
        /// As [`device_of`].
        device: u64,
        /// The inode number.
        number: u64,
    },
}

impl Identity {
    /// What is likely to be its inode number, to be compared with what statx(2) says.
    pub(super) fn likely_number(&self) -> Option<u64> {
        match self {
            Self::Handle { handle, .. } => handle.likely_number(),
            Self::Number { number, .. } => Some(*number),
        }
    }
}

/// A lower inode and how to reach it.
#[derive(Debug)]
pub struct Inode {
    nodeid: u64,
    identity: Identity,
    mount: Arc<LowerMount>,
    nature: Nature,
    recorded: OnceLock<Recorded>,
    fd: Mutex<FdSlot>,
    /// The word in which the kernel programs count its look-ups, packed, plus 1; 0 for none. Changed
    /// under the lock of its identity in the store.
    counted_in: AtomicU64,
    /// See [`has_passed`](Self::has_passed), plus 1; 0 for never.
    passed: AtomicU64,
    /// Whether its last open was for reading alone.
    pub(super) was_read: AtomicBool,
    /// The nodeid of the directory that it was found in last; 0: of none yet.
    parent: AtomicU64,
    /// See [`shown_by`](Self::shown_by).
    shown_by: AtomicU32,
    /// Set when the descriptor is used, cleared when the cache's hand passes.
    pub(super) fd_used: AtomicBool,
}

/// The `O_PATH` descriptor of an inode.
#[derive(Debug)]
pub(super) enum FdSlot {
    /// Opened by handle when needed.
    Absent,
    /// In the [`FdCache`](super::fd_cache::FdCache), which may take it away.
    Cached(Arc<OwnedFd>),
    /// Kept as long as the inode: it has no handle, or it is unlinked and only this keeps it.
    Held(
        Arc<OwnedFd>,
        #[expect(dead_code, reason = "counted while it lives")] HeldPermit,
    ),
}

/// One of the descriptors that may be held; see [`FdCache::permit`](super::fd_cache::FdCache).
#[derive(Debug)]
pub(super) struct HeldPermit(pub(super) Arc<std::sync::atomic::AtomicUsize>);

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an inode is, which never changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) kind: FileType,
    /// As [`device_of`].
    pub(super) device: u64,
    pub(super) number: u64,
    pub(super) place: Place,
}

/// Where an inode lies in the lower tree.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Place {
    /// See [`Inode::is_submount`].
    pub(super) submount: bool,
    /// See [`Lower::number_tag`](super::lower::Lower::number_tag).
    pub(super) number_tag: u64,
}

/// `stx_dev` as one number.
pub fn device_of(stat: &Statx) -> u64 {
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

/// The file type in `stx_mode`.
pub fn kind_of(stat: &Statx) -> FileType {
    FileType::from_raw_mode(u32::from(stat.stx_mode))
}

impl Inode {
    pub(super) fn new(
        nodeid: u64,
        identity: Identity,
        mount: Arc<LowerMount>,
        stat: &Statx,
        place: Place,
        fd: FdSlot,
    ) -> Self {
        let nature = Nature {
            kind: kind_of(stat),
            device: device_of(stat),
            number: stat.stx_ino,
            place,
        };
        Self::of(nodeid, identity, mount, nature, fd)
    }

    pub(super) fn of(
        nodeid: u64,
        identity: Identity,
        mount: Arc<LowerMount>,
        nature: Nature,
        fd: FdSlot,
    ) -> Self {
        Self {
            nodeid,
            identity,
            mount,
            nature,
            recorded: OnceLock::new(),
            fd: Mutex::new(fd),
            counted_in: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            was_read: AtomicBool::new(false),
            parent: AtomicU64::new(0),
            shown_by: AtomicU32::new(0),
            fd_used: AtomicBool::new(false),
        }
    }

    /// Whether this directory's lock was free once after changes without an end had gone as far as
    /// `endless` (docs/protocol.md, 8.7). Who hears that it was looks at names later than that.
    pub(super) fn has_passed(&self, endless: u64) -> bool {
        self.passed.load(Ordering::Acquire) == endless.wrapping_add(1)
    }

    /// The directory's lock was taken and let go of after `endless` had been asked for.
    pub(super) fn pass(&self, endless: u64) {
        self.passed
            .store(endless.wrapping_add(1), Ordering::Release);
    }

    /// The kernel's name of it; never used again for another inode.
    pub fn nodeid(&self) -> u64 {
        self.nodeid
    }

    /// What makes it the same inode.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The lower mount by which it is reached.
    pub fn mount(&self) -> &Arc<LowerMount> {
        &self.mount
    }

    /// Regular file, directory, ...: never changes.
    pub fn kind(&self) -> FileType {
        self.nature.kind
    }

    /// As [`device_of`].
    pub fn device(&self) -> u64 {
        self.nature.device
    }

    /// The lower inode number.
    pub fn number(&self) -> u64 {
        self.nature.number
    }

    /// Whether it is a directory on another mount or device than the one it was found in.
    pub fn is_submount(&self) -> bool {
        self.nature.place.submount
    }

    /// The number that applications see of `number`, one on this inode's device.
    ///
    /// The whole mount has one `st_dev`, whatever devices lie below, and programs take two files
    /// with equal `st_dev` and `st_ino` for one (tar and rsync for hard links). So a number from
    /// another device than LOWER's own has a tag of that device in its upper 16 bits.
    pub fn shown_number(&self, number: u64) -> u64 {
        number ^ self.nature.place.number_tag
    }

    /// Whether it has an OPEN: the kernel opens devices, pipes and sockets by itself, links not at
    /// all.
    ///
    /// # Errors
    ///
    /// `EISDIR`, `ELOOP`, `ENXIO`.
    pub fn check_regular(&self) -> Result<(), Errno> {
        match self.nature.kind {
            FileType::RegularFile => Ok(()),
            FileType::Directory => Err(Errno::ISDIR),
            FileType::Symlink => Err(Errno::LOOP),
            _ => Err(Errno::NXIO),
        }
    }

    /// Whether `stat` can be of this inode.
    pub fn matches(&self, stat: &Statx) -> bool {
        self.nature.number == stat.stx_ino
            && self.nature.device == device_of(stat)
            && self.nature.kind == kind_of(stat)
    }

    /// Opens it by its handle.
    ///
    /// # Errors
    ///
    /// Those of open_by_handle_at(2); `None` if it has no handle, and then it holds a descriptor.
    pub(super) fn open_by_handle(&self, flags: i32) -> Option<Result<OwnedFd, Errno>> {
        match (&self.identity, self.mount.handle_fd()) {
            (Identity::Handle { handle, .. }, Some(mount)) => Some(handle.open(mount, flags)),
            _ => None,
        }
    }

    /// The nodeid of the directory that it was found in last, by a look-up or because it was made or moved
    /// there; 0 if there was none.
    pub(super) fn parent(&self) -> u64 {
        self.parent.load(Ordering::Acquire)
    }

    pub(super) fn set_parent(&self, nodeid: u64) {
        self.parent.store(nodeid, Ordering::Release);
    }

    /// The number of the transformation that it is shown by; 0 for none. It and what the number means change
    /// under the lock of [`Transforms`](crate::transform::Transforms).
    pub(super) fn shown_by(&self) -> u32 {
        self.shown_by.load(Ordering::Acquire)
    }

    pub(super) fn set_shown_by(&self, number: u32) {
        self.shown_by.store(number, Ordering::Release);
    }

    /// What it is.
    pub(super) fn nature(&self) -> Nature {
        self.nature
    }

    /// Where it is recorded, for a successor of the daemon.
    pub(super) fn recorded(&self) -> Option<&Recorded> {
        self.recorded.get()
    }

    /// It is recorded there from now on; once.
    pub(super) fn record(&self, recorded: Option<Recorded>) {
        if let Some(recorded) = recorded {
            let _ = self.recorded.set(recorded);
        }
    }

    /// The descriptor that it holds.
    pub(super) fn held_fd(&self) -> Option<RawFd> {
        match &*self.slot() {
            FdSlot::Held(fd, _) => Some(fd.as_raw_fd()),
            FdSlot::Absent | FdSlot::Cached(_) => None,
        }
    }

    /// Where the kernel programs count its look-ups.
    pub(super) fn counted_in(&self) -> Option<LookupRef> {
        let packed = self.counted_in.load(Ordering::Relaxed);
        packed.checked_sub(1).map(LookupRef::unpack)
    }

    pub(super) fn set_counted_in(&self, word: Option<LookupRef>) {
        let packed = word.map_or(0, |word| word.pack() + 1);
        self.counted_in.store(packed, Ordering::Relaxed);
    }

    pub(super) fn slot(&self) -> MutexGuard<'_, FdSlot> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor it has now.
    pub(super) fn present_fd(&self) -> Option<Arc<OwnedFd>> {
        match &*self.slot() {
            FdSlot::Absent => None,
            FdSlot::Cached(fd) => {
                self.fd_used.store(true, Ordering::Relaxed);
                Some(Arc::clone(fd))
            }
            FdSlot::Held(fd, _) => Some(Arc::clone(fd)),
        }
    }
}
