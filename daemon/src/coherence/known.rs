//! What the kernel was told of, by the words of the change reports.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 64;

/// An inode that the kernel may know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its nodeid.
    pub nodeid: u64,
    /// The directory in which it was last looked up, if it was by a name.
    pub parent: Option<u64>,
}

/// Those of one shard.
type ByIndex = HashMap<u32, Vec<Told>>;

/// Inodes by the index of their words. Several may share one: a report of one of them is a report of all.
#[derive(Debug)]
pub struct Known {
    shards: Box<[Mutex<ByIndex>]>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Known {
    /// Adds an inode, or the directory it was found in last. Whether it is new.
    pub fn insert(&self, index: u32, nodeid: u64, parent: Option<u64>) -> bool {
        let mut shard = self.shard(index);
        let told = shard.entry(index).or_default();
        match told.iter_mut().find(|told| told.nodeid == nodeid) {
            Some(told) => {
                told.parent = parent.or(told.parent);
                false
            }
            None => {
                told.push(Told { nodeid, parent });
                true
            }
        }
    }

    /// Takes an inode out.
    pub fn remove(&self, index: u32, nodeid: u64) {
        let mut shard = self.shard(index);
        if let Some(told) = shard.get_mut(&index) {
            told.retain(|told| told.nodeid != nodeid);
            if told.is_empty() {
                shard.remove(&index);
            }
        }
    }

    /// All inodes of an index.
    pub fn of_index(&self, index: u32) -> Vec<Told> {
        self.shard(index).get(&index).cloned().unwrap_or_default()
    }

    /// All inodes, with their indices.
    pub fn all(&self) -> Vec<(u32, Told)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (&index, told) in &*shard {
                all.extend(told.iter().map(|&told| (index, told)));
            }
        }
        all
    }

    fn shard(&self, index: u32) -> MutexGuard<'_, ByIndex> {
        let shard = &self.shards[index as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_that_share_an_index_are_found_together() {
        let known = Known::default();
        assert!(known.insert(7, 2, Some(1)));
        assert!(known.insert(7, 3, None));
        assert!(!known.insert(7, 2, Some(9)));
        let told = |nodeid, parent| Told { nodeid, parent };
        assert_eq!(known.of_index(7), [told(2, Some(9)), told(3, None)]);
        assert_eq!(known.of_index(8), []);
        known.remove(7, 2);
        assert_eq!(known.all(), [(7, told(3, None))]);
    }

    #[test]
    fn a_lookup_without_a_name_does_not_forget_the_directory() {
        let known = Known::default();
        known.insert(1, 2, Some(5));
        known.insert(1, 2, None);
        assert_eq!(known.of_index(1)[0].parent, Some(5));
    }
}
