//! Interest in the changes of an inode.

use super::{
    imp::{
        AtomicU64,
        Ordering::{AcqRel, Relaxed},
    },
    point, weakened,
};

/// Whether somebody wants to know of the next change of an inode. SP-INTEREST.
#[repr(transparent)]
#[derive(Default, Debug)]
pub struct InterestWord(AtomicU64);

impl InterestWord {
    /// Asks for the next change to be reported, before the caller looks at the inode: a change whose
    /// report this comes too late for is one that he sees. Whether nobody had asked. SP-INTEREST.
    #[inline(always)]
    pub fn arm(&self) -> bool {
        self.0.swap(1, point!(InterestArmRelaxed, AcqRel)) == 0
    }

    /// Takes the wish, after the change has taken effect: whether it is to be reported. SP-INTEREST.
    #[inline(always)]
    pub fn take(&self) -> bool {
        self.0.swap(0, point!(InterestTakeRelaxed, AcqRel)) != 0
    }
}
