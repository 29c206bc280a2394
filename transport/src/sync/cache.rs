//! The words of the caches: generations, facts, look-ups.

use super::{
    FactSequence, FactUse, FactWord, GenerationWord, LookupWord,
    arms::{imp, point, weakened},
};
use imp::Ordering::{AcqRel, Acquire, Relaxed, Release};

impl GenerationWord {
    /// The generation, before anything that the caller looks at afterwards. SP-GEN.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        self.0.load(point!(GenerationStampRelaxed, Acquire))
    }

    /// Moves the generation: whoever sees the new one sees the effects before it, and whoever sees an
    /// effect behind it sees the new one. SP-GEN.
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, point!(GenerationBumpRelaxed, AcqRel));
    }
}

impl FactSequence {
    /// The sequence before a copy. SP-FACT.
    #[inline(always)]
    pub(crate) fn begin(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// The sequence after a copy whose words were loaded with acquire. SP-FACT.
    #[inline(always)]
    pub(crate) fn again(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Announces a writing by the odd value behind `even`; `false` if somebody else writes. SP-FACT.
    #[inline(always)]
    pub(crate) fn lock(&self, even: u64) -> bool {
        if weakened!(FactLockUnchecked) {
            self.0.store(even | 1, Release);
            return true;
        }
        let locked = self.0.compare_exchange(even, even | 1, AcqRel, Relaxed);
        locked.is_ok()
    }

    /// Ends a writing. SP-FACT.
    #[inline(always)]
    pub(crate) fn store(&self, value: u64) {
        self.0.store(value, Release);
    }
}

impl FactWord {
    /// Loads a word of a fact, before the sequence is looked at again. SP-FACT.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(point!(FactReadRelaxed, Acquire))
    }

    /// Writes a word of a fact, after the odd sequence. SP-FACT.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, point!(FactWriteRelaxed, Release));
    }
}

impl FactUse {
    /// Says yes. A word that says so already is left alone: its cache line stays shared.
    #[inline(always)]
    pub(crate) fn mark(&self) {
        if self.0.load(Relaxed) == 0 {
            self.0.store(1, Relaxed);
        }
    }

    /// Whether it says yes; it says no afterwards.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(0, AcqRel) != 0
    }
}

impl LookupWord {
    /// The value as it is.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Moves from exactly `from` to `to`, on the program's side; whether it did. SP-LOOKUP.
    #[inline(always)]
    pub(crate) fn count(&self, from: u64, to: u64) -> bool {
        if weakened!(LookupCountUnchecked) {
            self.0.store(to, Release);
            return true;
        }
        self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// Moves from exactly `from` to `to`, or says what is there. SP-LOOKUP.
    #[inline(always)]
    pub(crate) fn exchange(&self, from: u64, to: u64) -> Result<u64, u64> {
        if weakened!(LookupBuryUnchecked) {
            return Ok(self.0.swap(to, AcqRel));
        }
        self.0.compare_exchange(from, to, AcqRel, Acquire)
    }

    /// Swaps a value in and returns the one before. SP-LOOKUP.
    pub(crate) fn replace(&self, to: u64) -> u64 {
        self.0.swap(to, AcqRel)
    }
}
