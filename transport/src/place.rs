//! What the tasks of the machine are changing below the mount (protocol 8.2).
//!
//! A change is open until the system call returns that makes it. What a task has open stands at the place of its
//! number, in an array: every system call of the machine looks there when it ends. Two tasks may
//! have the same place: who finds it taken has what it changes elsewhere.

use crate::sync::{ClaimWord, Word32};

/// Places: each task has that of its number modulo this, a power of two.
pub const PLACES: u32 = 8192;
/// Inodes that one system call may be changing: a rename takes five.
pub const AT_ONCE: usize = 14;

/// The indices of what a task is changing, in a cache line.
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct Place {
    owner: ClaimWord,
    len: Word32,
    indices: [Word32; AT_ONCE],
}

/// How a change of a task began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// It is open until the task's system call ends.
    Now,
    /// It has begun before.
    Again,
    /// There is no room to remember it.
    Crowded,
    /// Another task has the place.
    Taken,
}

impl Place {
    /// The calling task, which is not 0, changes what has this index (SP-CLAIM).
    #[inline(always)]
    pub fn begin(&self, task: u32, index: u32) -> Begun {
        if !self.owner.is_of(task) {
            if !self.owner.claim(task) {
                return Begun::Taken;
            }
            self.len.set(0);
        }
        let len = self.len.get() as usize;
        let mut open = self.indices.iter().take(len);
        if open.any(|known| known.get() == index) {
            return Begun::Again;
        }
        match self.indices.get(len) {
            Some(place) => {
                place.set(index);
                self.len.set(len as u32 + 1);
                Begun::Now
            }
            None => Begun::Crowded,
        }
    }

    /// The calling task's system call ends: so does each change that stands here, if the place is its own, which
    /// is anybody's then (SP-CLAIM).
    #[inline(always)]
    pub fn end(&self, task: u32, mut end_one: impl FnMut(u32)) {
        if task == 0 || !self.owner.is_of(task) {
            return;
        }
        let len = self.len.get() as usize;
        for (at, index) in self.indices.iter().enumerate() {
            if at < len {
                end_one(index.get());
            }
        }
        self.owner.release();
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    extern crate std;
    use std::{vec, vec::Vec};

    fn ended(place: &Place, task: u32) -> Vec<u32> {
        let mut all = Vec::new();
        place.end(task, |index| all.push(index));
        all
    }

    #[test]
    fn what_a_task_has_begun_ends_with_its_call_and_not_with_another_ones() {
        let place = Place::default();
        let (task, beside) = (7, 7 + PLACES);
        assert_eq!(place.begin(task, 100), Begun::Now);
        assert_eq!(place.begin(task, 101), Begun::Now);
        assert_eq!(place.begin(task, 100), Begun::Again);
        assert_eq!(place.begin(beside, 102), Begun::Taken);
        assert_eq!(ended(&place, beside), vec![]);
        assert_eq!(ended(&place, task), vec![100, 101]);
        assert_eq!(ended(&place, task), vec![]);
    }

    #[test]
    fn a_place_that_was_given_back_is_empty() {
        let place = Place::default();
        assert_eq!(place.begin(7, 100), Begun::Now);
        assert_eq!(ended(&place, 7), vec![100]);
        assert_eq!(place.begin(7 + PLACES, 100), Begun::Now);
        assert_eq!(place.begin(7, 100), Begun::Taken);
        assert_eq!(ended(&place, 7 + PLACES), vec![100]);
    }

    #[test]
    fn what_is_more_than_a_place_holds_is_told() {
        let place = Place::default();
        for index in 0..AT_ONCE as u32 {
            assert_eq!(place.begin(7, index), Begun::Now);
        }
        assert_eq!(place.begin(7, 1000), Begun::Crowded);
        assert_eq!(place.begin(7, 3), Begun::Again);
        assert_eq!(ended(&place, 7).len(), AT_ONCE);
    }

    #[test]
    fn no_task_is_number_0_and_ends_nothing() {
        assert_eq!(ended(&Place::default(), 0), vec![]);
    }
}
