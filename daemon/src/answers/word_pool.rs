//! Words in which the programs count look-ups (docs/protocol.md, 8.4): which inode has which.
//!
//! There are fewer than inodes may be. An inode gets one with its first fact and keeps it until it is
//! forgotten, or until another needs it: then what it counted becomes the daemon's own count.

use std::sync::{Mutex, MutexGuard, PoisonError};
use transport::{
    cache::CacheMemory,
    lookups::{self, LookupRef},
};

/// See the [module's documentation](self). Its lock is taken under those of the inode store.
#[derive(Debug)]
pub struct WordPool {
    count: u32,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// By word: the nodeid that has it, or had it last. Words beyond are fresh.
    owners: Vec<u64>,
    free: Vec<u32>,
    /// Whose turn it is to give his word up.
    hand: usize,
}

impl WordPool {
    /// All of `count` words are free.
    pub fn new(count: u32) -> Self {
        Self {
            count,
            pool: Mutex::default(),
        }
    }

    /// A word for the inode that the kernel calls `nodeid`; `None` if there is no free one.
    pub fn take(&self, memory: &(impl CacheMemory + ?Sized), nodeid: u64) -> Option<LookupRef> {
        let mut pool = self.lock();
        while let Some(index) = pool.free.pop() {
            // One that has had all its incarnations is never used again.
            let incarnation = memory.lookup_word(index).and_then(lookups::revive);
            if let Some(incarnation) = incarnation {
                pool.owners[index as usize] = nodeid;
                return Some(LookupRef { index, incarnation });
            }
        }
        let index = u32::try_from(pool.owners.len()).ok()?;
        if index >= self.count {
            return None;
        }
        pool.owners.push(nodeid);
        Some(LookupRef {
            index,
            incarnation: 0,
        })
    }

    /// Takes a word back that is dead.
    pub fn give_back(&self, word: LookupRef) {
        self.lock().free.push(word.index);
    }

    /// The nodeid whose turn it is to give its word up; it may not have it any more.
    pub fn next_victim(&self) -> Option<u64> {
        let mut pool = self.lock();
        let hand = pool.hand;
        pool.hand = (hand + 1) % pool.owners.len().max(1);
        pool.owners.get(hand).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
