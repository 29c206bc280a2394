//! Which directories are likely to be looked at next.
//!
//! Two signs are read. Whoever opens a directory that was listed by its parent walks the tree: the
//! directories listed behind it are next (find(1), du(1), git-status(1), ls(1) with `-R`). And whoever
//! looks up a second name in a directory that tells nothing of itself is likely to look up more.

use std::collections::{HashMap, VecDeque};

/// Lists that are remembered, the newest of them.
const LISTS: usize = 32;
/// Subdirectories of one list that are remembered.
const CHILDREN: usize = 1024;
/// How many directories a walk is read ahead of.
const AHEAD: usize = 16;
/// Directories that wait to be loaded.
const QUEUE: usize = 64;
/// Directories of which it is remembered that names were looked up in them: a power of two.
const SLOTS: usize = 256;
/// The look-up that has a directory loaded.
const LOOKUPS: u32 = 2;

/// See the [module's documentation](self). Everything in it is bounded.
#[derive(Debug, Default)]
pub struct Walk {
    /// By parent.
    lists: HashMap<u64, List>,
    /// The parents, the oldest first.
    parents: VecDeque<u64>,
    /// Where a directory was listed: its parent, and its place there.
    places: HashMap<u64, (u64, usize)>,
    queue: VecDeque<u64>,
    looked_up: HashMap<u64, (u64, u32)>,
}

/// The subdirectories of a directory, in the order in which they were listed.
#[derive(Debug, Default)]
struct List {
    children: Vec<u64>,
    /// Those that were opened or queued.
    done: Vec<bool>,
    /// How many of them were opened.
    descents: u32,
}

impl Walk {
    /// A listing of `parent` has told of these directories; it is the first part of it, or a further
    /// one. Whether there is something new to load.
    pub fn listed(&mut self, parent: u64, is_first: bool, children: &[u64]) -> bool {
        if is_first {
            self.drop_list(parent);
        }
        if children.is_empty() {
            return false;
        }
        if !self.lists.contains_key(&parent) {
            if self.parents.len() == LISTS
                && let Some(oldest) = self.parents.pop_front()
            {
                self.drop_list(oldest);
            }
            self.parents.push_back(parent);
        }
        let list = self.lists.entry(parent).or_default();
        for &child in children {
            if list.children.len() < CHILDREN {
                self.places.insert(child, (parent, list.children.len()));
                list.children.push(child);
                list.done.push(false);
            }
        }
        // Who came here from the list above goes on downwards first.
        let comes_from = self.places.get(&parent).map(|&(above, _)| above);
        let walked = comes_from.and_then(|above| self.lists.get(&above));
        is_first && walked.is_some_and(|list| list.descents > 1) && self.queue_from(parent, 0)
    }

    /// A directory is opened. Whether there is something new to load.
    pub fn opened(&mut self, directory: u64) -> bool {
        self.queue.retain(|&queued| queued != directory);
        let Some(&(parent, place)) = self.places.get(&directory) else {
            return false;
        };
        let Some(list) = self.lists.get_mut(&parent) else {
            return false;
        };
        list.descents += 1;
        if let Some(done) = list.done.get_mut(place) {
            *done = true;
        }
        self.queue_from(parent, place + 1)
    }

    /// A name was looked up in `directory`, and no fact told of it. Whether there is something new to
    /// load.
    pub fn looked_up(&mut self, directory: u64) -> bool {
        let slot = directory % SLOTS as u64;
        let counted = self.looked_up.entry(slot).or_default();
        if counted.0 != directory {
            *counted = (directory, 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 == LOOKUPS && self.push(&[directory])
    }

    /// The directory to load next.
    pub fn next(&mut self) -> Option<u64> {
        self.queue.pop_front()
    }

    /// Whether a directory waits to be loaded.
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Queues the next directories of a list: first those from `place` on, then those before it, which a
    /// walk in another order comes to.
    fn queue_from(&mut self, parent: u64, place: usize) -> bool {
        let Some(list) = self.lists.get_mut(&parent) else {
            return false;
        };
        let len = list.children.len();
        let mut next = Vec::new();
        let near = (place..len).take(AHEAD).chain((0..place).take(AHEAD));
        for place in near.take(AHEAD) {
            if !std::mem::replace(&mut list.done[place], true) {
                next.push(list.children[place]);
            }
        }
        self.push(&next)
    }

    /// Before those that wait already: what is deeper is needed earlier.
    fn push(&mut self, directories: &[u64]) -> bool {
        for &directory in directories.iter().rev() {
            self.queue.push_front(directory);
        }
        self.queue.truncate(QUEUE);
        !directories.is_empty()
    }

    fn drop_list(&mut self, parent: u64) {
        if let Some(list) = self.lists.remove(&parent) {
            self.parents.retain(|&known| known != parent);
            for child in list.children {
                if self.places.get(&child).is_some_and(|at| at.0 == parent) {
                    self.places.remove(&child);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(walk: &mut Walk) -> Vec<u64> {
        std::iter::from_fn(|| walk.next()).collect()
    }

    #[test]
    fn who_opens_a_listed_directory_has_the_next_ones_queued_once() {
        let mut walk = Walk::default();
        let children: Vec<u64> = (100..200).collect();
        assert!(!walk.listed(1, true, &children));
        assert!(walk.opened(100));
        assert_eq!(all(&mut walk), (101..=116).collect::<Vec<_>>());
        assert!(walk.opened(101));
        assert_eq!(all(&mut walk), [117]);
        assert!(!walk.opened(101));
    }

    #[test]
    fn a_walk_in_another_order_is_read_ahead_of_as_well() {
        let mut walk = Walk::default();
        walk.listed(1, true, &[10, 11, 12]);
        assert!(walk.opened(12));
        assert_eq!(all(&mut walk), [10, 11]);
    }

    #[test]
    fn what_lies_deeper_comes_first() {
        let mut walk = Walk::default();
        walk.listed(1, true, &[10, 11, 12, 13]);
        walk.opened(10);
        walk.opened(11);
        assert!(walk.listed(11, true, &[20, 21]));
        assert_eq!(all(&mut walk), [20, 21, 12, 13]);
    }

    #[test]
    fn the_second_name_looked_up_has_a_directory_loaded_once() {
        let mut walk = Walk::default();
        assert!(!walk.looked_up(5));
        assert!(walk.looked_up(5));
        assert!(!walk.looked_up(5));
        assert_eq!(all(&mut walk), [5]);
    }

    #[test]
    fn one_that_is_opened_waits_no_more() {
        let mut walk = Walk::default();
        walk.looked_up(5);
        walk.looked_up(5);
        walk.opened(5);
        assert!(!walk.is_waiting());
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut walk = Walk::default();
        for parent in 0..10_000 {
            let children: Vec<u64> = (0..2000).map(|n| 1_000_000 + parent * 10 + n).collect();
            walk.listed(parent, true, &children);
            walk.listed(parent, false, &children);
            walk.opened(1_000_000 + parent * 10);
            walk.looked_up(parent);
            walk.looked_up(parent);
        }
        assert!(walk.lists.len() <= LISTS && walk.parents.len() <= LISTS);
        assert!(walk.places.len() <= LISTS * CHILDREN);
        assert!(walk.queue.len() <= QUEUE && walk.looked_up.len() <= SLOTS);
    }
}
