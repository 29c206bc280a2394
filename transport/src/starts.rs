//! When the requests under way were sent: a table from a request's address to a time.
//!
//! Written by: the program `fuse_request_send`, in whoever makes the request, and `fuse_request_end`,
//! in whoever ends it. The kernel calls the second for a request only after the first has returned
//! (fs/fuse/dev.c), so of one request's start there is one writer at a time. Two requests meet only where
//! they ask for the same place, which one of them gets.
//!
//! A hash table of the kernel's would do as well, and took a quarter of a microsecond for each of the two
//! calls (decision 0013); this one is a load of one cache line.

use crate::sync::{StartOwner, Word};

/// Sets of a table: a power of two.
pub const SETS: u32 = 4096;
/// Places of a set, which is one cache line.
const PLACES: usize = 4;
/// 2^64 divided by the golden ratio: spreads addresses that differ in a few bits (Knuth, The Art of
/// Computer Programming, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The set in which the start of `id` is looked for. Range: below [`SETS`].
#[inline(always)]
pub const fn set_of(id: u64) -> u32 {
    (id.wrapping_mul(SPREAD) >> (64 - SETS.ilog2())) as u32
}

/// One request's start.
#[repr(C)]
#[derive(Default, Debug)]
struct Start {
    owner: StartOwner,
    at_ns: Word,
}

/// The starts of those that hash to one place.
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct StartSet([Start; PLACES]);

// loom's atomics have another size
#[cfg(not(shmfuse_loom))]
const _: () = assert!(size_of::<StartSet>() == 64);

impl StartSet {
    /// Keeps when `id`, not 0, was sent. Where the set is full the oldest start makes room, which may be
    /// of a request that has never ended; then this says no, as it does where another one was
    /// quicker.
    #[inline(always)]
    pub fn keep(&self, id: u64, now_ns: u64) -> bool {
        let mut oldest = &self.0[0];
        for place in &self.0 {
            let owner = place.owner.get();
            // The address of a request that never ended, and is used again.
            if owner == id || owner == 0 && place.owner.claim(id) {
                place.at_ns.set(now_ns);
                return true;
            }
            if place.at_ns.get() < oldest.at_ns.get() {
                oldest = place;
            }
        }
        oldest.owner.set(id);
        oldest.at_ns.set(now_ns);
        false
    }

    /// When `id` was sent, if that was kept; once.
    #[inline(always)]
    pub fn take(&self, id: u64) -> Option<u64> {
        let place = self.0.iter().find(|place| place.owner.get() == id)?;
        let at_ns = place.at_ns.get();
        place.owner.set(0);
        Some(at_ns)
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_taken_once() {
        let set = StartSet::default();
        assert_eq!(set.take(64), None);
        assert!(set.keep(64, 5));
        assert_eq!(set.take(128), None);
        assert_eq!(set.take(64), Some(5));
        assert_eq!(set.take(64), None);
    }

    #[test]
    fn a_request_that_is_sent_again_has_one_start() {
        let set = StartSet::default();
        assert!(set.keep(128, 1) && set.keep(64, 5) && set.keep(64, 7));
        assert_eq!(set.take(64), Some(7));
        assert_eq!(set.take(64), None);
    }

    #[test]
    fn where_the_set_is_full_the_oldest_start_makes_room_and_that_is_said() {
        let set = StartSet::default();
        for (id, now) in [(1, 40), (2, 10), (3, 20), (4, 30)] {
            assert!(set.keep(id, now));
        }
        assert!(!set.keep(5, 50));
        assert_eq!(set.take(2), None);
        assert_eq!(set.take(5), Some(50));
        assert_eq!(set.take(3), Some(20));
    }

    #[test]
    fn addresses_of_a_slab_spread_over_the_sets() {
        for distance in [64, 128, 160, 192, 256, 4096] {
            let mut met = [0u8; SETS as usize];
            for n in 0..u64::from(SETS) / 4 {
                met[set_of(0xffff_8880_0000_0000 + n * distance) as usize] += 1;
            }
            assert!(met.iter().all(|met| *met <= 4), "{distance}");
        }
    }
}
