//! Generations: when a cached fact stops being true (protocol 8.1, 8.2).

use crate::{layout::GENERATIONS, memory::GenerationMemory, sync::weakened};

/// The word that moves, before the directory's own, with each change of names in a directory by somebody
/// whose change has no end that is noticed (protocol 8.2).
pub const ENDLESS: u32 = GENERATIONS as u32;

/// A device number for [`index_of`], which the programs read from the kernel's super block in this form
/// (`MKDEV`, include/linux/kdev_t.h).
#[inline(always)]
pub const fn device_of(major: u32, minor: u32) -> u64 {
    (major as u64) << 20 | minor as u64
}

/// The generation word that an inode of the lower file system, whose device is given as [`device_of`]
/// has it, shares with all that hash alike. A collision costs a miss, never a wrong answer.
#[inline(always)]
pub const fn index_of(device: u64, inode: u64) -> u32 {
    // The finalizer of splitmix64 (Vigna, public domain): every input bit reaches every output bit.
    let mut z = inode ^ device.rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u32 & (GENERATIONS as u32 - 1)
}

/// A change of the inode begins, or ends: the generation grows by at least this less one.
const STEP: u64 = 1 << 16;
/// The lower bits of the word: how many changes are under way.
const UNDER_WAY: u64 = STEP - 1;

/// The generation of an inode at one moment, when no change of it was under way. Taken **before** the
/// look at the lower file system whose result it stamps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Which word.
    pub index: u32,
    /// Its value.
    pub value: u64,
}

impl Stamp {
    /// The generation as it is (SP-GEN); `None` if a change is under way, or if there is no such word.
    #[inline(always)]
    pub fn take(memory: &(impl GenerationMemory + ?Sized), index: u32) -> Option<Self> {
        let value = memory.generation(index)?.now();
        let at_rest = value & UNDER_WAY == 0 || weakened!(GenerationStampUnderWay);
        at_rest.then_some(Self { index, value })
    }

    /// Whether nothing has changed since. To be asked last, after all else about the fact was read.
    #[inline(always)]
    pub fn is_valid(&self, memory: &(impl GenerationMemory + ?Sized)) -> bool {
        if weakened!(GenerationUnchecked) {
            return true;
        }
        match memory.generation(self.index) {
            Some(word) => word.now() == self.value,
            None => false,
        }
    }
}

/// A change that passes through this mount begins: all facts about the inodes of this word are
/// invalid, and none is made until it [ends](end_change) (SP-GEN).
#[inline(always)]
pub fn begin_change(memory: &(impl GenerationMemory + ?Sized), index: u32) {
    if let Some(word) = memory.generation(index) {
        word.add(STEP + 1);
    }
}

/// The change has taken effect; to be called before its reply is handed over (SP-GEN). An end that is
/// missing, or one too many, costs misses only: the word never takes a value again.
#[inline(always)]
pub fn end_change(memory: &(impl GenerationMemory + ?Sized), index: u32) {
    if let Some(word) = memory.generation(index) {
        word.add(STEP - 1);
    }
}

/// A change was noticed that has taken effect already, made by somebody else (SP-GEN).
#[inline(always)]
pub fn bump(memory: &(impl GenerationMemory + ?Sized), index: u32) {
    if let Some(word) = memory.generation(index) {
        word.add(STEP);
    }
}

/// As [`bump`], where the names of a directory may change some time later, and the end will not be noticed:
/// first [`ENDLESS`] moves. So who has a stamp of the directory that is valid after this, and asks for
/// [`endless`] then, knows of it (SP-GEN).
#[inline(always)]
pub fn bump_without_end(memory: &(impl GenerationMemory + ?Sized), index: u32) {
    if weakened!(EndlessLate) {
        bump(memory, index);
        return bump(memory, ENDLESS);
    }
    bump(memory, ENDLESS);
    bump(memory, index);
}

/// What tells whether names in directories began to change without an end: to be asked for after the stamp
/// of a directory was taken, and before its lock is.
#[inline(always)]
pub fn endless(memory: &(impl GenerationMemory + ?Sized)) -> Option<u64> {
    memory.generation(ENDLESS).map(|word| word.now())
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::{layout::Blank, sync::GenerationWord};
    extern crate std;

    #[test]
    fn a_stamp_is_valid_until_its_own_word_is_bumped() {
        let words = <[GenerationWord; 4]>::blank();
        let stamp = Stamp::take(&words, 1).unwrap();
        bump(&words, 2);
        assert!(stamp.is_valid(&words));
        bump(&words, 1);
        assert!(!stamp.is_valid(&words));
    }

    #[test]
    fn while_changes_are_under_way_no_stamp_is_taken() {
        let words = <[GenerationWord; 4]>::blank();
        let before = Stamp::take(&words, 0).unwrap();
        begin_change(&words, 0);
        begin_change(&words, 0);
        assert_eq!(Stamp::take(&words, 0), None);
        end_change(&words, 0);
        assert_eq!(Stamp::take(&words, 0), None);
        end_change(&words, 0);
        let after = Stamp::take(&words, 0).unwrap();
        assert!(after.is_valid(&words) && !before.is_valid(&words));
    }

    #[test]
    fn unmatched_ends_never_bring_an_old_generation_back() {
        let words = <[GenerationWord; 1]>::blank();
        let mut seen = std::collections::HashSet::from([Stamp::take(&words, 0)]);
        for n in 0..200_000u32 {
            match n % 5 {
                0 | 3 => end_change(&words, 0),
                1 => begin_change(&words, 0),
                _ => bump(&words, 0),
            }
            let stamp = Stamp::take(&words, 0);
            assert!(stamp.is_none() || seen.insert(stamp), "{stamp:?} came back");
        }
    }

    #[test]
    fn a_stamp_of_a_word_that_is_not_there_is_never_valid() {
        let words = <[GenerationWord; 4]>::blank();
        assert_eq!(Stamp::take(&words, 4), None);
        assert!(!Stamp { index: 4, value: 0 }.is_valid(&words));
        bump(&words, 4);
    }

    #[test]
    fn inodes_of_one_device_spread_over_the_words() {
        let mut seen = [0u8; GENERATIONS];
        for inode in 0..GENERATIONS as u64 {
            let count = &mut seen[index_of(0x801, inode) as usize];
            *count = count.saturating_add(1);
        }
        assert!(seen.iter().all(|n| *n < 16));
    }
}
