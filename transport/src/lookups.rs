//! Counting the look-ups that the program answered (protocol 8.4).

use crate::sync::{LookupWord, weakened};

const DEAD: u64 = 1 << 63;

/// Counts one LOOKUP that is about to be answered with this inode; `false` if the inode is dead, and
/// the request must be dispatched instead (SP-LOOKUP).
#[inline(always)]
pub fn count(word: &LookupWord) -> bool {
    word.increment() & DEAD == 0 || weakened!(LookupIgnoresDead)
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
    let counted = word.get();
    if counted & DEAD != 0 {
        return Remaining::Dead;
    }
    if own.saturating_add(counted) > forgotten {
        return Remaining::Alive;
    }
    if weakened!(LookupBuryUnchecked) {
        let _ = word.exchange(counted, DEAD);
        return Remaining::Dead;
    }
    match word.exchange(counted, DEAD) {
        Ok(_) => Remaining::Dead,
        Err(_) => Remaining::Alive,
    }
}

/// How many look-ups the program answered with this inode.
pub fn counted(word: &LookupWord) -> u64 {
    word.get() & !DEAD
}

/// Makes a dead word usable for another inode. Only after every fact that names it was made
/// invalid.
pub fn revive(word: &LookupWord) {
    word.reset();
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_inode_dies_when_all_references_are_returned_and_counts_no_more() {
        let word = LookupWord::new(0);
        assert!(count(&word));
        assert!(count(&word));
        assert_eq!(bury_if_forgotten(&word, 1, 2), Remaining::Alive);
        assert_eq!(bury_if_forgotten(&word, 1, 3), Remaining::Dead);
        assert!(!count(&word));
        assert_eq!(bury_if_forgotten(&word, 1, 3), Remaining::Dead);
        revive(&word);
        assert!(count(&word));
        assert_eq!(counted(&word), 1);
    }
}
