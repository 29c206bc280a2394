//! Counting the look-ups that the program answered (protocol 8.4).
//!
//! ```text
//!  63    62                    40 39                                   0
//!  +------+----------------------+--------------------------------------+
//!  | dead | incarnation          | look-ups answered                    |
//!  +------+----------------------+--------------------------------------+
//! ```

use crate::sync::{LookupWord, weakened};

const DEAD: u64 = 1 << 63;
const COUNT_BITS: u32 = 40;
/// Most look-ups that a word can count: further ones are the daemon's.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const INCARNATION_MAX: u32 = (1 << (63 - COUNT_BITS)) - 1;
/// How often the program tries: another CPU counts the same inode at the same time.
const TRIES: u32 = 4;

/// Which inode a word counts for: words are fewer than inodes, and one that is used again is a new
/// incarnation. So a fact that names it for the former inode counts no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LookupRef {
    /// Which word.
    pub index: u32,
    /// Of how many it is used for.
    pub incarnation: u32,
}

impl LookupRef {
    /// As a word of a fact.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        self.index as u64 | (self.incarnation as u64) << 32
    }

    /// From a word of a fact.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self {
            index: word as u32,
            incarnation: (word >> 32) as u32,
        }
    }
}

/// Counts one LOOKUP that is about to be answered with the inode; `false` if it is dead, or the word
/// another inode's, and the request must be dispatched instead (SP-LOOKUP).
#[inline(always)]
pub fn count(word: &LookupWord, incarnation: u32) -> bool {
    for _ in 0..TRIES {
        let now = word.get();
        if now & DEAD != 0 && !weakened!(LookupIgnoresDead) {
            return false;
        }
        let another = incarnation_of(now) != incarnation && !weakened!(LookupIgnoresIncarnation);
        if another || now & COUNT_MAX == COUNT_MAX {
            return false;
        }
        if word.count(now, now + 1) {
            return true;
        }
    }
    false
}

#[inline(always)]
const fn incarnation_of(word: u64) -> u32 {
    ((word & !DEAD) >> COUNT_BITS) as u32
}

/// What FORGET left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remaining {
    /// The kernel still refers to the inode.
    Alive,
    /// It does not; the inode is dead, and no program will answer with it.
    Dead,
}

/// Buries the inode if the kernel's references are all returned: `forgotten` of them altogether, of
/// which the daemon itself gave `own`. Called again if a program counted meanwhile, that is, at the
/// next FORGET.
pub fn bury_if_forgotten(word: &LookupWord, own: u64, forgotten: u64) -> Remaining {
    let now = word.get();
    if now & DEAD != 0 {
        return Remaining::Dead;
    }
    if own.saturating_add(now & COUNT_MAX) > forgotten {
        return Remaining::Alive;
    }
    if weakened!(LookupBuryUnchecked) {
        let _ = word.exchange(now, now | DEAD);
        return Remaining::Dead;
    }
    match word.exchange(now, now | DEAD) {
        Ok(_) => Remaining::Dead,
        Err(_) => Remaining::Alive,
    }
}

/// How many look-ups the program answered with this inode.
pub fn counted(word: &LookupWord) -> u64 {
    word.get() & COUNT_MAX
}

/// Takes the word from a living inode: no program counts in it any more. Returns how many look-ups
/// it had counted, which are the daemon's own from now on.
pub fn withdraw(word: &LookupWord) -> u64 {
    let mut now = word.get();
    loop {
        match word.exchange(now, now | DEAD) {
            Ok(_) => return now & COUNT_MAX,
            Err(newer) => now = newer,
        }
    }
}

/// Makes a dead word usable for another inode, under the incarnation that is returned. `None` if it
/// has had all there are: it stays dead, for a fact of any of them may still be about.
pub fn revive(word: &LookupWord) -> Option<u32> {
    let next = incarnation_of(word.get()) + 1;
    if next > INCARNATION_MAX {
        return None;
    }
    word.replace(u64::from(next) << COUNT_BITS);
    Some(next)
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_inode_dies_when_all_references_are_returned_and_counts_no_more() {
        let word = LookupWord::new(0);
        assert!(count(&word, 0));
        assert!(count(&word, 0));
        assert_eq!(bury_if_forgotten(&word, 1, 2), Remaining::Alive);
        assert_eq!(bury_if_forgotten(&word, 1, 3), Remaining::Dead);
        assert!(!count(&word, 0));
        assert_eq!(bury_if_forgotten(&word, 1, 3), Remaining::Dead);
        assert_eq!(revive(&word), Some(1));
        assert!(count(&word, 1));
        assert_eq!(counted(&word), 1);
    }

    #[test]
    fn who_names_a_former_inode_of_the_word_counts_nothing() {
        let word = LookupWord::new(0);
        assert!(count(&word, 0));
        assert_eq!(withdraw(&word), 1);
        assert!(!count(&word, 0));
        let next = revive(&word).unwrap();
        assert!(!count(&word, 0));
        assert_eq!(counted(&word), 0);
        assert!(count(&word, next));
    }

    #[test]
    fn a_word_that_can_count_no_further_leaves_the_lookup_to_the_daemon() {
        let word = LookupWord::new(COUNT_MAX - 1);
        assert!(count(&word, 0));
        assert!(!count(&word, 0));
        assert_eq!(counted(&word), COUNT_MAX);
    }

    #[test]
    fn a_word_that_has_had_all_incarnations_stays_dead() {
        let word = LookupWord::new(u64::from(INCARNATION_MAX) << COUNT_BITS | DEAD);
        assert_eq!(revive(&word), None);
        assert!(!count(&word, INCARNATION_MAX));
    }

    #[test]
    fn a_reference_survives_its_packing() {
        let there = LookupRef {
            index: 77,
            incarnation: INCARNATION_MAX,
        };
        assert_eq!(LookupRef::unpack(there.pack()), there);
    }
}
