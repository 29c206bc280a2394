//! Places that the tasks of a machine share.

use super::{
    imp::{
        AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    point, weakened,
};

/// Which task has a place; 0: none. Only its owner touches what lies beside the word. SP-CLAIM.
#[repr(transparent)]
#[derive(Default, Debug)]
pub struct ClaimWord(AtomicU32);

impl ClaimWord {
    /// Whether the calling task has the place.
    #[inline(always)]
    pub fn is_of(&self, task: u32) -> bool {
        // Nobody but the task itself makes it so, or ends it.
        self.0.load(Relaxed) == task
    }

    /// Takes the place for the calling task, which is not 0, if nobody has it. SP-CLAIM.
    #[inline(always)]
    pub fn claim(&self, task: u32) -> bool {
        if weakened!(ClaimUnchecked) {
            self.0.store(task, Release);
            return true;
        }
        let order = point!(ClaimTakeRelaxed, AcqRel);
        self.0.compare_exchange(0, task, order, Acquire).is_ok()
    }

    /// Gives the place back, by the task that has it. SP-CLAIM.
    #[inline(always)]
    pub fn release(&self) {
        self.0.store(0, point!(ClaimReleaseRelaxed, Release));
    }
}
