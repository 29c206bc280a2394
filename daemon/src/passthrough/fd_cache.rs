//! A bounded number of `O_PATH` descriptors for the inodes in use.
//!
//! Inodes are reached by file handle; a descriptor saves the open_by_handle_at(2). The cache is a
//! clock: its hand passes over the inodes that have a descriptor and takes it from the first that
//! was not used since the hand's last visit. A hit costs no lock but the inode's own.

use super::{
    inode::{FdSlot, HeldPermit, Inode},
    ledger,
};
use crate::fuse::Errno;
use std::{
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Fewest descriptors that the cache works with, whatever the limit.
const CAPACITY_MIN: usize = 16;
/// Most descriptors that the cache keeps: beyond it the clock's memory costs more than it saves.
const CAPACITY_MAX: usize = 1 << 16;

/// The cached descriptors, and the count of those that are held.
#[derive(Debug)]
pub struct FdCache {
    capacity: usize,
    clock: Mutex<Clock>,
    held_max: usize,
    held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Clock {
    /// At most `capacity`; each inode at most once.
    inodes: Vec<Weak<Inode>>,
    hand: usize,
}

impl FdCache {
    /// A cache for a process that may have `limit` descriptors (`RLIMIT_NOFILE`): a quarter of
    /// them are cached at most, half of them are held at most.
    pub fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            capacity: (limit / 4).clamp(CAPACITY_MIN, CAPACITY_MAX),
            clock: Mutex::default(),
            held_max: limit / 2,
            held: Arc::default(),
        }
    }

    /// Makes room in the process's table of descriptors for those that the cache will have, and as many
    /// again: `any` is one of the process.
    ///
    /// The table doubles when it is full. A process with threads waits for an RCU grace period then, 5 to
    /// 12 ms on an idle machine, and so does every thread that needs a descriptor meanwhile
    /// (`expand_fdtable`, fs/file.c). It takes 8 bytes for each: 1 MiB at most.
    /// Where that is refused the table grows by and by.
    #[must_use]
    pub fn with_room(self, any: impl AsFd) -> Self {
        let last = i32::try_from(2 * self.capacity - 1).unwrap_or(i32::MAX);
        if let Err(errno) = rustix::io::fcntl_dupfd_cloexec(any, last) {
            tracing::debug!(%errno, "no room is made for descriptors");
        }
        self
    }

    /// Most descriptors that are cached.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Descriptors that are held at present.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The right to hold one more descriptor.
    ///
    /// # Errors
    ///
    /// `EMFILE` if half of the process's limit is held: the other half is for open files.
    pub(super) fn permit(&self) -> Result<HeldPermit, Errno> {
        let permit = HeldPermit(Arc::clone(&self.held));
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.held_max {
            return Err(Errno::MFILE);
        }
        Ok(permit)
    }

    /// Gives `inode` the descriptor `fd` for a while, unless it has one already; returns the one
    /// it has then.
    pub fn admit(&self, inode: &Arc<Inode>, fd: OwnedFd) -> Arc<OwnedFd> {
        let fd = Arc::new(fd);
        // Closed after the locks are released.
        let evicted;
        {
            let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(present) = inode.present_fd() {
                return present;
            }
            evicted = clock.place(inode, self.capacity);
            *inode.slot() = FdSlot::Cached(Arc::clone(&fd));
            // Not marked as used: what many inodes pass through once leaves the others alone.
            inode.fd_used.store(false, Ordering::Relaxed);
        }
        drop(evicted);
        fd
    }

    /// Makes `fd` stay with `inode` as long as that exists. Returns false if no more descriptors
    /// may be held.
    pub fn hold(&self, inode: &Arc<Inode>, fd: Arc<OwnedFd>) -> bool {
        let mut slot = inode.slot();
        if matches!(*slot, FdSlot::Held(..)) {
            return true;
        }
        let Ok(permit) = self.permit() else {
            return false;
        };
        if let Some(recorded) = inode.recorded() {
            recorded.set(ledger::inode::HELD, fd.as_raw_fd() as u64 + 1);
        }
        *slot = FdSlot::Held(fd, permit);
        true
    }

    /// Closes every cached descriptor that is not in use at this moment: for when the process's
    /// limit is reached. Returns whether there was one.
    pub fn shed(&self) -> bool {
        let inodes = {
            let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
            clock.hand = 0;
            std::mem::take(&mut clock.inodes)
        };
        let taken = inodes.iter().filter_map(Weak::upgrade);
        taken.filter(|inode| take_cached(inode).is_some()).count() > 0
    }
}

impl Clock {
    /// Makes room for `inode` and puts it there. Returns the descriptor that had to go.
    fn place(&mut self, inode: &Arc<Inode>, capacity: usize) -> Option<Arc<OwnedFd>> {
        if self.inodes.len() < capacity {
            self.inodes.push(Arc::downgrade(inode));
            return None;
        }
        // Each visit clears the mark; two rounds are enough unless others set it again meanwhile.
        let mut visits = 2 * self.inodes.len();
        loop {
            let at = self.hand;
            self.hand = (at + 1) % self.inodes.len();
            visits = visits.saturating_sub(1);
            let victim = self.inodes[at].upgrade();
            if let Some(victim) = &victim
                && victim.fd_used.swap(false, Ordering::Relaxed)
                && visits > 0
            {
                continue;
            }
            self.inodes[at] = Arc::downgrade(inode);
            return victim.as_ref().and_then(take_cached);
        }
    }
}

fn take_cached(inode: &Arc<Inode>) -> Option<Arc<OwnedFd>> {
    let mut slot = inode.slot();
    match &*slot {
        FdSlot::Cached(_) => match std::mem::replace(&mut *slot, FdSlot::Absent) {
            FdSlot::Cached(fd) => Some(fd),
            FdSlot::Absent | FdSlot::Held(..) => None,
        },
        FdSlot::Absent | FdSlot::Held(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::passthrough::testing::{Scratch, places};
    use transport::wire::ROOT_ID;

    use super::*;

    /// Inodes of as many files.
    fn inodes(scratch: &mut Scratch, count: usize) -> Vec<Arc<Inode>> {
        (0..count)
            .map(|n| {
                let name = format!("f{n}");
                std::fs::write(scratch.lower(&name), b"").unwrap();
                let nodeid = scratch.lookup(&name);
                scratch.fs.inode(nodeid).unwrap()
            })
            .collect()
    }

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn no_more_than_the_capacity_is_open_and_what_is_used_stays() {
        let mut scratch = Scratch::new(&places()[0]);
        let inodes = inodes(&mut scratch, 100);
        scratch.fs.fds.shed();
        let cache = FdCache::new(64);
        assert_eq!(cache.capacity(), 16);
        for inode in &inodes {
            cache.admit(inode, fd());
            // The first is used all the time.
            assert!(inodes[0].present_fd().is_some());
            let open = inodes
                .iter()
                .filter(|i| !matches!(*i.slot(), FdSlot::Absent));
            assert!(open.count() <= cache.capacity());
        }
        assert!(cache.shed());
        assert!(inodes.iter().all(|inode| inode.present_fd().is_none()));
        assert!(!cache.shed());
    }

    #[test]
    fn the_table_has_room_for_the_cache_before_it_is_used() {
        let cache = FdCache::new(4096).with_room(fd());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        let size: usize = size.unwrap().trim().parse().unwrap();
        assert!(size >= 2 * cache.capacity(), "{size}");
    }

    #[test]
    fn a_held_descriptor_is_not_taken_and_is_counted_until_its_inode_goes() {
        let mut scratch = Scratch::new(&places()[0]);
        let inodes = inodes(&mut scratch, 4);
        scratch.fs.fds.shed();
        let cache = FdCache::new(4);
        let held = cache.admit(&inodes[0], fd());
        assert!(cache.hold(&inodes[0], held));
        assert!(cache.hold(&inodes[1], Arc::new(fd())));
        assert!(
            !cache.hold(&inodes[2], Arc::new(fd())),
            "half of 4 are held"
        );
        assert!(cache.hold(&inodes[1], Arc::new(fd())), "it is held already");
        cache.shed();
        assert!(inodes[0].present_fd().is_some());
        assert_eq!(cache.held(), 2);
        scratch.fs.inodes.clear();
        drop(inodes);
        assert_eq!(cache.held(), 0);
        assert!(scratch.fs.inode(ROOT_ID).is_ok());
    }
}
