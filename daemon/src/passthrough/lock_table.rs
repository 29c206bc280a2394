//! Locks of fcntl(2): held in the lower kernel for each application that took one.
//!
//! An owner (the kernel's name for an application's descriptor table, or for an open file whose
//! locks are its own) has, for each inode it locks, an open file description of the lower file,
//! and its locks are that description's (`F_OFD_SETLK`). So the lower kernel decides every
//! conflict: between owners on this mount, and with processes that work on the lower directory.
//! What each owner holds is known here besides, for three questions the lower kernel cannot
//! answer: the process id behind a lock, whether waiting would never end, and what to take along
//! when a description opened for reading must give way to one opened for writing.
//!
//! Lock order: a shard, then one owner. No system call that waits is made under either.

use super::{
    flock::{from_flock, from_nix, to_flock, unlock},
    lock_ranges::{ByteRange, LockKind, LockRanges},
    lock_request::LockRequest,
    proc_fd::reopen,
};
use crate::fuse::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::OFlags;
use std::{
    collections::HashMap,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use transport::wire::FileLock;

const SHARDS: usize = 16;

/// The locks of every owner.
#[derive(Debug)]
pub struct LockTable {
    shards: Box<[Mutex<Shard>]>,
    /// Owners in all shards: FLUSH looks no further if there are none.
    owners: AtomicUsize,
    waits: Mutex<HashMap<u64, LockRequest>>,
}

/// Inode, then owner.
type Shard = HashMap<u64, HashMap<u64, Arc<Owner>>>;

/// One owner's locks on one inode.
#[derive(Debug, Default)]
struct Owner {
    /// Requests under way: while there are any, the owner is not forgotten. Changed only under the
    /// shard's lock.
    users: AtomicUsize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The description whose locks these are; made for the first.
    file: Option<Arc<File>>,
    writable: bool,
    ranges: LockRanges,
    pid: u32,
    fh: u64,
}

impl Default for LockTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            owners: AtomicUsize::new(0),
            waits: Mutex::default(),
        }
    }
}

impl LockTable {
    /// SETLK: takes or gives up a lock, at once. `lower` is any open file of the inode.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if another owner is in the way, and what fcntl(2) and open(2) say.
    pub fn set(&self, request: &LockRequest, lower: BorrowedFd<'_>) -> Result<(), Errno> {
        let Some(owner) = self.owner(request) else {
            return Ok(());
        };
        let done = owner.held().set(request, lower);
        self.put(request, owner);
        done
    }

    /// SETLKW: the same, and waits while another owner is in the way. The thread is kicked out of
    /// the wait when `interrupted` begins to hold.
    ///
    /// # Errors
    ///
    /// `EINTR` if interrupted, `EDEADLK` if the wait would never end, and what fcntl(2) and
    /// open(2) say.
    pub fn set_waiting(
        &self,
        request: &LockRequest,
        lower: BorrowedFd<'_>,
        interrupted: impl Fn() -> bool,
    ) -> Result<(), Errno> {
        let Some(owner) = self.owner(request) else {
            return Ok(());
        };
        let done = self.wait(request, &owner, lower, interrupted);
        self.put(request, owner);
        done
    }

    fn wait(
        &self,
        request: &LockRequest,
        owner: &Owner,
        lower: BorrowedFd<'_>,
        interrupted: impl Fn() -> bool,
    ) -> Result<(), Errno> {
        loop {
            // Once the wait below has ended, this takes the lock again, known here this time. The
            // lower kernel lets it through unless another thread of the owner has unlocked it
            // meanwhile; then that came first, and the wait goes on.
            match owner.held().set(request, lower) {
                Err(Errno::AGAIN | Errno::ACCESS) => {}
                done => return done,
            }
            if interrupted() {
                return Err(Errno::INTR);
            }
            let Some(file) = owner.held().file.clone() else {
                continue;
            };
            let _waiting = self.begin_wait(request)?;
            let lock = to_flock(request.range, request.kind);
            match fcntl(&*file, FcntlArg::F_OFD_SETLKW(&lock)) {
                Ok(_) => owner.held().keep_only_own(&file, request.range),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(from_nix(errno)),
            }
        }
    }

    /// GETLK: what is in the way of `request`, as the application is to see it; `None` if nothing
    /// is.
    ///
    /// # Errors
    ///
    /// What fcntl(2) says.
    pub fn test(
        &self,
        request: &LockRequest,
        lower: BorrowedFd<'_>,
    ) -> Result<Option<FileLock>, Errno> {
        let own = lock(self.shard(request.nodeid))
            .get(&request.nodeid)
            .and_then(|owners| owners.get(&request.owner))
            .and_then(|owner| owner.held().file.clone());
        let file = own.as_ref().map_or(lower, |file| file.as_fd());
        let mut found = to_flock(request.range, request.kind);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).map_err(from_nix)?;
        if i32::from(found.l_type) == libc::F_UNLCK {
            return Ok(None);
        }
        let range = from_flock(&found);
        let pid = match found.l_pid {
            // A description's lock: if it is not one of ours, nobody knows the process.
            -1 => self.holder(request, range).unwrap_or(u32::MAX),
            pid => pid as u32,
        };
        Ok(Some(FileLock {
            start: range.start,
            end: range.end,
            kind: found.l_type as u32,
            pid,
        }))
    }

    /// FLUSH: everything that `owner` holds of `nodeid` is given up.
    pub fn release_owner(&self, nodeid: u64, owner: u64) {
        if self.owners.load(Ordering::Acquire) > 0 {
            self.release(nodeid, |name, _| name == owner);
        }
    }

    /// RELEASE: everything of `nodeid` that was taken through the handle `fh` and is still there
    /// is given up. Locks of descriptor tables have gone with the FLUSH before; what is left are
    /// the locks of the open file itself (`F_OFD_SETLK` on the mount), of whose end the kernel
    /// does not tell.
    pub fn release_handle(&self, nodeid: u64, fh: u64) {
        if self.owners.load(Ordering::Acquire) > 0 {
            self.release(nodeid, |_, held| held.fh == fh);
        }
    }

    fn release(&self, nodeid: u64, whose: impl Fn(u64, &Held) -> bool) {
        let mut shard = lock(self.shard(nodeid));
        let Some(owners) = shard.get_mut(&nodeid) else {
            return;
        };
        owners.retain(|&name, owner| {
            let mut held = owner.held();
            if !whose(name, &held) {
                return true;
            }
            held.unlock_all();
            let stays = owner.users.load(Ordering::Relaxed) > 0;
            if !stays {
                self.owners.fetch_sub(1, Ordering::AcqRel);
            }
            stays
        });
        if owners.is_empty() {
            shard.remove(&nodeid);
        }
    }

    /// Gives up every lock of every owner.
    pub fn clear(&self) {
        for shard in &self.shards {
            lock(shard).clear();
        }
        self.owners.store(0, Ordering::Release);
    }

    /// How many owners hold or await locks, counted once for each inode.
    pub fn len(&self) -> usize {
        self.owners.load(Ordering::Acquire)
    }

    /// Whether nobody holds or awaits a lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The owner that makes `request`, in use until it is [`put`](Self::put) back. `None` if there
    /// is none and none is needed, because it only unlocks.
    fn owner(&self, request: &LockRequest) -> Option<Arc<Owner>> {
        let mut shard = lock(self.shard(request.nodeid));
        if request.kind.is_none() && !shard.get(&request.nodeid)?.contains_key(&request.owner) {
            return None;
        }
        let owners = shard.entry(request.nodeid).or_default();
        let owner = owners.entry(request.owner).or_insert_with(|| {
            self.owners.fetch_add(1, Ordering::AcqRel);
            Arc::default()
        });
        owner.users.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(owner))
    }

    /// `request` has ended. Its owner is forgotten if it holds nothing and wants nothing else.
    fn put(&self, request: &LockRequest, owner: Arc<Owner>) {
        let mut shard = lock(self.shard(request.nodeid));
        let users = owner.users.fetch_sub(1, Ordering::Relaxed) - 1;
        if users > 0 || !owner.held().ranges.is_empty() {
            return;
        }
        let Some(owners) = shard.get_mut(&request.nodeid) else {
            return;
        };
        // After `clear` another owner may have taken the name.
        if owners
            .get(&request.owner)
            .is_some_and(|named| Arc::ptr_eq(named, &owner))
        {
            owners.remove(&request.owner);
            self.owners.fetch_sub(1, Ordering::AcqRel);
        }
        if owners.is_empty() {
            shard.remove(&request.nodeid);
        }
    }

    /// The process behind a lock in `range` that is in the way of `request`.
    fn holder(&self, request: &LockRequest, range: ByteRange) -> Option<u32> {
        let wanted = request.kind.unwrap_or(LockKind::Write);
        let shard = lock(self.shard(request.nodeid));
        let others = shard.get(&request.nodeid)?.iter();
        let mut others = others.filter(|(name, _)| **name != request.owner);
        others.find_map(|(_, owner)| {
            let held = owner.held();
            held.ranges.conflicts(range, wanted).then_some(held.pid)
        })
    }

    /// Notes that the owner of `request` waits, unless those in its way wait for it in turn. As in
    /// the kernel (`posix_locks_deadlock`, fs/locks.c) an owner waits for one lock at a time; of
    /// several threads of one process the last counts.
    fn begin_wait(&self, request: &LockRequest) -> Result<Waiting<'_>, Errno> {
        /// The longest chain followed (`MAX_DEADLK_ITERATIONS`, fs/locks.c).
        const CHAIN_MAX: usize = 10;
        let mut waits = lock(&self.waits);
        let mut awaited = *request;
        for _ in 0..CHAIN_MAX {
            let Some(in_the_way) = self.owner_in_the_way(&awaited) else {
                break;
            };
            if in_the_way == request.owner {
                return Err(Errno::DEADLK);
            }
            match waits.get(&in_the_way) {
                Some(next) => awaited = *next,
                None => break,
            }
        }
        waits.insert(request.owner, *request);
        Ok(Waiting {
            table: self,
            owner: request.owner,
        })
    }

    fn owner_in_the_way(&self, request: &LockRequest) -> Option<u64> {
        let kind = request.kind?;
        let shard = lock(self.shard(request.nodeid));
        let others = shard.get(&request.nodeid)?.iter();
        let mut others = others.filter(|(name, _)| **name != request.owner);
        others
            .find(|(_, owner)| owner.held().ranges.conflicts(request.range, kind))
            .map(|(name, _)| *name)
    }

    fn shard(&self, nodeid: u64) -> &Mutex<Shard> {
        &self.shards[nodeid as usize % SHARDS]
    }
}

/// While it lives its owner is known to wait.
struct Waiting<'a> {
    table: &'a LockTable,
    owner: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.table.waits).remove(&self.owner);
    }
}

impl Owner {
    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

impl Held {
    /// Makes the lower kernel's locks and what is known here what `request` says, or leaves both.
    fn set(&mut self, request: &LockRequest, lower: BorrowedFd<'_>) -> Result<(), Errno> {
        let file = match (request.kind, &self.file) {
            (Some(kind), _) => self.description(kind, lower)?,
            (None, Some(file)) => Arc::clone(file),
            (None, None) => return Ok(()),
        };
        let lock = to_flock(request.range, request.kind);
        fcntl(&*file, FcntlArg::F_OFD_SETLK(&lock)).map_err(from_nix)?;
        self.ranges.set(request.range, request.kind);
        if request.kind.is_some() {
            (self.pid, self.fh) = (request.pid, request.fh);
        }
        Ok(())
    }

    /// The description for a lock of this kind: a write lock needs one opened for writing. It is
    /// opened for writing only then, since that keeps others from executing the file.
    fn description(&mut self, kind: LockKind, lower: BorrowedFd<'_>) -> Result<Arc<File>, Errno> {
        let writable = kind == LockKind::Write;
        match &self.file {
            Some(file) if self.writable || !writable => return Ok(Arc::clone(file)),
            _ => {}
        }
        let flags = if writable {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        let file = Arc::new(File::from(reopen(lower, flags)?));
        // All that was held until now are read locks: nobody else has a write lock in their way,
        // and two descriptions can both have them while the old one is closed.
        for (range, kind) in self.ranges.iter() {
            let lock = to_flock(range, Some(kind));
            fcntl(&*file, FcntlArg::F_OFD_SETLK(&lock)).map_err(from_nix)?;
        }
        if let Some(old) = self.file.replace(Arc::clone(&file)) {
            // A thread that waits with the old description would keep its locks.
            unlock(&old, ByteRange::ALL);
        }
        self.writable = writable;
        Ok(file)
    }

    /// `file` has got a lock on `range` by waiting: if it is no longer the owner's description,
    /// the lock is none of the owner's.
    fn keep_only_own(&self, file: &Arc<File>, range: ByteRange) {
        if !self.file.as_ref().is_some_and(|own| Arc::ptr_eq(own, file)) {
            unlock(file, range);
        }
    }

    fn unlock_all(&mut self) {
        if let Some(file) = &self.file {
            unlock(file, ByteRange::ALL);
        }
        self.ranges.clear();
    }
}

/// What a lock guards is whole even if it is poisoned: no code that can panic runs inside.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "lock_table_tests.rs"]
mod tests;
