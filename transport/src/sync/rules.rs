//! The words of the rule book (protocol 13).

use super::{
    RuleBucket, RuleWord, RuleWriter, RulesEpoch, RulesShown,
    arms::{imp, point, weakened},
};
use imp::Ordering::{AcqRel, Acquire, Relaxed, Release};

impl RulesEpoch {
    /// Which table is in force, with all that was written into it. SP-RULES.
    #[inline(always)]
    pub fn begin(&self) -> u64 {
        self.0.load(point!(RulesBeginRelaxed, Acquire))
    }

    /// Looked at after the table's words were loaded with acquire: if it has not moved since `begin`,
    /// nobody had begun to write over them. SP-RULES.
    #[inline(always)]
    pub fn has_moved(&self, since: u64) -> bool {
        self.0.load(Relaxed) != since && !weakened!(RulesNotAgain)
    }

    /// Puts a table into force. SP-RULES.
    pub fn publish(&self, value: u64) {
        self.0.store(value, point!(RulesPublishRelaxed, Release));
    }
}

impl RuleWord {
    /// Loads a word of a table, before the epoch is looked at again. SP-RULES.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(point!(RulesReadRelaxed, Acquire))
    }

    /// Writes a word of the table that is not in force, after the other was put into force. SP-RULES.
    pub fn set(&self, value: u64) {
        self.0.store(value, point!(RulesWriteRelaxed, Release));
    }
}

impl RuleBucket {
    /// The time that the bucket is filled up to, nanoseconds.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Moves from exactly `from` to `to`; whether it did.
    #[inline(always)]
    pub(crate) fn spend(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// A bucket that nothing was drawn from.
    pub(crate) fn fill(&self) {
        self.0.store(0, Release);
    }
}

impl RulesShown {
    /// The generation.
    pub fn generation(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// All that the kernel was told by an earlier one is revoked.
    pub fn set(&self, generation: u64) {
        self.0.store(generation, Release);
    }
}

impl RuleWriter {
    /// Who writes the book, 0 for nobody.
    pub fn holder(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Moves from exactly `from` to `to`; whether it did.
    pub fn exchange(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }
}
