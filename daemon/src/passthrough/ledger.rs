//! What outlives the daemon, in memory that it shares with its supervisor: the inodes that the kernel
//! knows, and the files and directories that applications have open.
//!
//! A successor reads it when its predecessor is dead, so nothing here is ever read beside its writer.
//! Each record is written before its state says so, and the state taken back before the record is used
//! again: whenever a daemon is killed, what is there is whole. Where record and kernel can differ,
//! because a reply was not sent any more, the record has the inode or file that the kernel does
//! not have, never the reverse: it stays until the end of the mount, and does no harm.

#![expect(unsafe_code, reason = "shared memory as atomics")]

use crate::{
    error::{Error, Result},
    memory_file::memory_file,
};
use memmap2::{MmapOptions, MmapRaw};
use std::{
    collections::HashSet,
    os::fd::RawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Words of a record.
pub const WORDS: usize = 16;
/// Most records; the memory of those that are not used is not taken.
const RECORDS: usize = 1 << 22;

/// What a record is of: its first word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Kind {
    /// An inode.
    Inode = 1,
    /// An open file.
    File = 2,
    /// An open directory.
    Directory = 3,
}

/// The words of an inode's record, behind the first.
#[expect(missing_docs, reason = "named for the fields they hold")]
pub mod inode {
    pub const NODEID: usize = 1;
    pub const GIVEN: usize = 2;
    pub const RETURNED: usize = 3;
    pub const MOUNT: usize = 4;
    pub const DEVICE: usize = 5;
    pub const NUMBER: usize = 6;
    pub const NUMBER_TAG: usize = 7;
    /// The mode, and whether it is a submount in bit 63.
    pub const MODE: usize = 8;
    /// The descriptor that it holds, and 1; 0 for none.
    pub const HELD: usize = 9;
    /// The kind of its handle, and the length in the upper half; all ones if it has none.
    pub const HANDLE: usize = 10;
    /// 32 bytes of handle.
    pub const BYTES: usize = 11;
    /// The descriptor by which handles of its mount are opened, and 1.
    pub const MOUNT_FD: usize = 15;
}

/// The words of a file's record, and as far as there are any a directory's.
#[expect(missing_docs, reason = "named for the fields they hold")]
pub mod file {
    pub const HANDLE: usize = 1;
    pub const NODEID: usize = 2;
    pub const FD: usize = 3;
    pub const FLAGS: usize = 4;
    /// 0 copy, 1 passthrough, 2 copied beside passthrough.
    pub const DATA: usize = 5;
    pub const BACKING: usize = 6;
}

#[repr(C)]
struct Record([AtomicU64; WORDS]);

/// The head of the memory, in place of the first record.
mod head {
    /// Records that were ever in use, this one included.
    pub const USED: usize = 0;
    /// Above every nodeid that was handed out.
    pub const NEXT_NODEID: usize = 1;
    /// Owners of locks, which are not recorded.
    pub const LOCK_OWNERS: usize = 2;
    /// Something found no place.
    pub const INCOMPLETE: usize = 3;
    /// How often a daemon took over.
    pub const TAKEOVERS: usize = 4;
}

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct Ledger {
    memory: MmapRaw,
    free: Mutex<Vec<u32>>,
}

impl Ledger {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// What [`memory_file`] and mmap(2) say.
    pub fn new() -> Result<Self> {
        let cannot = |error| Error::system("no memory for what outlives the daemon", error);
        let len = RECORDS * size_of::<Record>();
        let memory = memory_file("shmfuse-ledger", len as u64).map_err(cannot)?;
        let memory = MmapOptions::new()
            .len(len)
            .map_raw(&std::fs::File::from(memory))
            .map_err(cannot)?;
        let ledger = Self {
            memory,
            free: Mutex::default(),
        };
        ledger.head(head::USED).store(1, Ordering::Relaxed);
        Ok(ledger)
    }

    /// Makes what a predecessor has left this process's own. Returns how often that has been done
    /// before.
    pub fn take_over(&self) -> u64 {
        let used = self.used();
        let is_free = |index: &u32| self.word(*index, 0).load(Ordering::Acquire) == 0;
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) =
            (1..used as u32).filter(is_free).collect();
        self.head(head::TAKEOVERS).fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a successor can go on from it.
    pub fn is_complete(&self) -> bool {
        let word = |word| self.head(word).load(Ordering::Relaxed);
        word(head::INCOMPLETE) == 0 && word(head::LOCK_OWNERS) == 0
    }

    /// Records something of `kind`. If there is no place left, no successor can go on.
    pub fn add(self: &Arc<Self>, kind: Kind, words: &[(usize, u64)]) -> Option<Recorded> {
        let Some(index) = self.place() else {
            self.give_up();
            return None;
        };
        for &(word, value) in words {
            self.word(index, word).store(value, Ordering::Relaxed);
        }
        self.word(index, 0).store(kind as u64, Ordering::Release);
        Some(Recorded {
            ledger: Arc::clone(self),
            index,
        })
    }

    /// No successor can go on from here.
    pub fn give_up(&self) {
        self.head(head::INCOMPLETE).store(1, Ordering::Relaxed);
    }

    /// How many owners of locks there are.
    pub fn set_lock_owners(&self, count: usize) {
        self.head(head::LOCK_OWNERS)
            .store(count as u64, Ordering::Relaxed);
    }

    /// `nodeid` has been handed out.
    pub fn handed_out(&self, nodeid: u64) {
        self.head(head::NEXT_NODEID)
            .fetch_max(nodeid + 1, Ordering::Relaxed);
    }

    /// Above every nodeid that was handed out.
    pub fn next_nodeid(&self) -> u64 {
        self.head(head::NEXT_NODEID).load(Ordering::Relaxed)
    }

    /// What there is of `kind`.
    pub fn records(self: &Arc<Self>, kind: Kind) -> Vec<Recorded> {
        let indices = 1..self.used() as u32;
        indices
            .filter(|&index| self.word(index, 0).load(Ordering::Acquire) == kind as u64)
            .map(|index| Recorded {
                ledger: Arc::clone(self),
                index,
            })
            .collect()
    }

    /// The descriptors that a successor needs.
    pub fn descriptors(&self) -> HashSet<RawFd> {
        let mut found = HashSet::new();
        for index in 1..self.used() as u32 {
            let word = |word| self.word(index, word).load(Ordering::Acquire);
            let mut plus_one = |number: u64| {
                if let Some(fd) = number.checked_sub(1) {
                    found.insert(fd as RawFd);
                }
            };
            match word(0) {
                kind if kind == Kind::Inode as u64 => {
                    plus_one(word(inode::HELD));
                    plus_one(word(inode::MOUNT_FD));
                }
                0 => {}
                _ => plus_one(word(file::FD) + 1),
            }
        }
        found
    }

    fn used(&self) -> u64 {
        let used = self.head(head::USED).load(Ordering::Relaxed);
        used.clamp(1, RECORDS as u64)
    }

    fn place(&self) -> Option<u32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = free.pop() {
            return Some(index);
        }
        let used = self.used();
        if used == RECORDS as u64 {
            return None;
        }
        self.head(head::USED).store(used + 1, Ordering::Relaxed);
        Some(used as u32)
    }

    fn head(&self, word: usize) -> &AtomicU64 {
        self.word(0, word)
    }

    fn word(&self, index: u32, word: usize) -> &AtomicU64 {
        assert!((index as usize) < RECORDS && word < WORDS);
        let records = self.memory.as_ptr().cast::<Record>();
        // SAFETY: the mapping is aligned to pages, holds RECORDS records of atomics, for which all bytes
        // are valid, and lives as long as `self`; whoever else maps it uses atomics as well.
        let record = unsafe { &*records.add(index as usize) };
        &record.0[word]
    }
}

/// A record, until it is dropped.
#[derive(Debug)]
pub struct Recorded {
    ledger: Arc<Ledger>,
    index: u32,
}

impl Recorded {
    /// What a word of it says.
    pub fn get(&self, word: usize) -> u64 {
        self.ledger.word(self.index, word).load(Ordering::Relaxed)
    }

    /// Changes a word.
    pub fn set(&self, word: usize, value: u64) {
        self.ledger
            .word(self.index, word)
            .store(value, Ordering::Relaxed);
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let state = self.ledger.word(self.index, 0);
        state.store(0, Ordering::Release);
        let free = &self.ledger.free;
        free.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_and_not_dropped_is_found_by_a_successor() {
        let ledger = Arc::new(Ledger::new().unwrap());
        let gone = ledger.add(Kind::Inode, &[(inode::NODEID, 7)]).unwrap();
        let kept = ledger
            .add(Kind::File, &[(file::HANDLE, 9), (file::FD, 3)])
            .unwrap();
        ledger.handed_out(7);
        drop(gone);
        std::mem::forget(kept);
        assert_eq!(ledger.take_over(), 0);
        assert!(ledger.is_complete());
        assert_eq!(ledger.next_nodeid(), 8);
        assert_eq!(ledger.descriptors(), HashSet::from([3]));
        assert!(ledger.records(Kind::Inode).is_empty());
        let files = ledger.records(Kind::File);
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].get(file::HANDLE), 9);
        // The place of what is gone is used again.
        let again = ledger.add(Kind::Directory, &[]).unwrap();
        assert_eq!(again.index, 1);
    }

    #[test]
    fn locks_and_what_found_no_place_are_told() {
        let ledger = Ledger::new().unwrap();
        ledger.set_lock_owners(1);
        assert!(!ledger.is_complete());
        ledger.set_lock_owners(0);
        assert!(ledger.is_complete());
        ledger.give_up();
        assert!(!ledger.is_complete());
    }
}
