//! What the kernel was told of, by the words of the change reports.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 64;
/// A file with links in more directories is rare, and their requests would have to be under way at once.
const PARENTS: usize = 4;

/// An inode that the kernel may know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its nodeid.
    pub nodeid: u64,
    /// The directories in which it was looked up by a name, the last [`PARENTS`] of them.
    pub parents: Vec<u64>,
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
    /// Adds an inode, and the directory it was found in.
    pub fn insert(&self, index: u32, nodeid: u64, parent: Option<u64>) {
        let mut shard = self.shard(index);
        let told = shard.entry(index).or_default();
        let known = match told.iter().position(|told| told.nodeid == nodeid) {
            Some(known) => known,
            None => {
                let parents = Vec::new();
                told.push(Told { nodeid, parents });
                told.len() - 1
            }
        };
        let parents = &mut told[known].parents;
        if let Some(parent) = parent
            && !parents.contains(&parent)
        {
            if parents.len() == PARENTS {
                parents.remove(0);
            }
            parents.push(parent);
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
                all.extend(told.iter().map(|told| (index, told.clone())));
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

    fn told(nodeid: u64, parents: &[u64]) -> Told {
        Told {
            nodeid,
            parents: parents.to_vec(),
        }
    }

    #[test]
    fn inodes_that_share_an_index_are_found_together() {
        let known = Known::default();
        known.insert(7, 2, Some(1));
        known.insert(7, 3, None);
        known.insert(7, 2, Some(9));
        assert_eq!(known.of_index(7), [told(2, &[1, 9]), told(3, &[])]);
        assert_eq!(known.of_index(8), []);
        known.remove(7, 2);
        assert_eq!(known.all(), [(7, told(3, &[]))]);
    }

    #[test]
    fn directories_are_remembered_once_and_not_without_bound() {
        let known = Known::default();
        for parent in [5, 6, 5, 7, 8, 9, 9] {
            known.insert(1, 2, Some(parent));
        }
        known.insert(1, 2, None);
        assert_eq!(known.of_index(1), [told(2, &[6, 7, 8, 9])]);
    }
}
