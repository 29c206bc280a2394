//! Facts: cached answers that are read while they may be rewritten (protocol 8.3).

use crate::{
    layout::Blank,
    sync::{FactSequence, FactUse, FactWord, weakened},
};

/// Words of a fact in the maps.
pub const FACT_WORDS: usize = 38;

/// Words under a sequence: what a reader gets is what some writer wrote, all of it.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Fact<const W: usize = FACT_WORDS> {
    sequence: FactSequence,
    used: FactUse,
    words: [FactWord; W],
}

impl<const W: usize> Blank for Fact<W> {
    fn blank() -> Self {
        Self {
            sequence: FactSequence::default(),
            used: FactUse::default(),
            words: Blank::blank(),
        }
    }
}

impl<const W: usize> Fact<W> {
    /// Begins to read; `None` if the fact is being written.
    #[inline(always)]
    pub fn begin(&self) -> Option<Reading<'_, W>> {
        let before = self.sequence.begin();
        (before & 1 == 0).then_some(Reading { fact: self, before })
    }

    /// Copies the first words out; `false`, with rubbish in `into`, if they are being written. A
    /// fact never written reads as zeroes.
    #[inline(always)]
    pub fn read(&self, into: &mut [u64]) -> bool {
        let Some(reading) = self.begin() else {
            return false;
        };
        for (index, to) in into.iter_mut().enumerate() {
            *to = reading.word(index);
        }
        reading.is_whole()
    }

    /// Says that the fact was of use, for who looks for one to replace.
    #[inline(always)]
    pub fn mark_used(&self) {
        self.used.mark();
    }

    /// Whether it was of use since this was asked last.
    pub fn take_used(&self) -> bool {
        self.used.take()
    }

    /// Writes the first words and zeroes the others; `false` if a program writes at the same time, and
    /// does not come to an end. `writer` shows that the daemon has one writer at a time.
    pub fn write(&self, from: &[u64], _writer: &mut FactWriter) -> bool {
        for _ in 0..TRIES {
            let even = self.sequence.begin() & !1;
            if !weakened!(FactNoOdd) && !self.sequence.lock(even) {
                core::hint::spin_loop();
                continue;
            }
            let padded = from.iter().copied().chain(core::iter::repeat(0));
            for (to, value) in self.words.iter().zip(padded) {
                to.set(value);
            }
            self.sequence.store(even.wrapping_add(2));
            return true;
        }
        false
    }

    /// Writes some words of a fact, by their indices, if it is still one that the caller `accepts`, and
    /// nobody else writes; whether it did.
    #[inline(always)]
    pub fn renew(
        &self,
        accepts: impl FnOnce(Reading<'_, W>) -> bool,
        write: impl FnOnce(&mut dyn FnMut(usize, u64)),
    ) -> bool {
        let before = self.sequence.begin();
        if before & 1 != 0 || !self.sequence.lock(before) {
            return false;
        }
        let accepted = accepts(Reading { fact: self, before });
        if accepted {
            write(&mut |index, value| {
                if let Some(word) = self.words.get(index) {
                    word.set(value);
                }
            });
        }
        self.sequence.store(before.wrapping_add(2));
        accepted
    }
}

/// How often the daemon tries to write while a program does: longer than that takes.
const TRIES: u32 = if cfg!(shmfuse_loom) { 2 } else { 1000 };

/// A fact that is being read: each word by itself is one that it had, and together they are what one
/// writer wrote if the reading [`is_whole`](Self::is_whole).
#[derive(Clone, Copy, Debug)]
pub struct Reading<'f, const W: usize = FACT_WORDS> {
    fact: &'f Fact<W>,
    before: u64,
}

impl<'f, const W: usize> Reading<'f, W> {
    /// A word; 0 beyond the last.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        self.fact.words.get(index).map_or(0, FactWord::get)
    }

    /// Whether nobody has written since the reading began. To be asked after the last word was read.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        weakened!(FactNoRecheck) || self.fact.sequence.again() == self.before
    }

    /// What is being read.
    #[inline(always)]
    pub fn fact(&self) -> &'f Fact<W> {
        self.fact
    }
}

/// The right to write a mount's facts. The daemon keeps it under a lock.
#[derive(Debug, Default)]
pub struct FactWriter(());

#[cfg(not(shmfuse_loom))]
const _: () = assert!(size_of::<Fact>() == 320);

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_what_was_written_last() {
        let fact = Fact::<4>::blank();
        let mut writer = FactWriter::default();
        let mut read = [9; 4];
        assert!(fact.read(&mut read));
        assert_eq!(read, [0; 4]);
        fact.write(&[1, 2, 3, 4], &mut writer);
        fact.write(&[5, 6], &mut writer);
        assert!(fact.read(&mut read));
        assert_eq!(read, [5, 6, 0, 0]);
    }

    #[test]
    fn a_fact_whose_writer_stopped_half_way_is_left_alone() {
        let fact = Fact::<2>::blank();
        fact.sequence.store(7);
        assert!(!fact.read(&mut [0; 2]));
        assert!(!fact.write(&[1, 2], &mut FactWriter::default()));
        assert!(!fact.renew(|_| true, |put| put(0, 1)));
    }

    #[test]
    fn only_what_is_accepted_is_renewed_and_the_other_words_stay() {
        let fact = Fact::<3>::blank();
        fact.write(&[1, 2, 3], &mut FactWriter::default());
        assert!(!fact.renew(|held| held.word(0) == 7, |put| put(1, 9)));
        assert!(fact.renew(
            |held| held.word(0) == 1,
            |put| {
                put(1, 9);
                put(5, 9);
            }
        ));
        let mut words = [0; 3];
        assert!(fact.read(&mut words));
        assert_eq!(words, [1, 9, 3]);
    }
}
