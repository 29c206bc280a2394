//! Generations: when a cached fact stops being true (protocol 8.1, 8.2).

use crate::{layout::GENERATIONS, memory::GenerationMemory, sync::weakened};

/// The generation word that an inode of the lower file system shares with all that hash alike. A
/// collision costs a miss, never a wrong answer.
#[inline(always)]
pub const fn index_of(device: u64, inode: u64) -> u32 {
    // The finalizer of splitmix64 (Vigna, public domain): every input bit reaches every output bit.
    let mut z = inode ^ device.rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u32 & (GENERATIONS as u32 - 1)
}

/// The generation of an inode at one moment. Taken **before** the look at the lower file system whose
/// result it stamps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Which word.
    pub index: u32,
    /// Its value.
    pub value: u64,
}

impl Stamp {
    /// The generation as it is (SP-GEN); `None` if there is no such word.
    #[inline(always)]
    pub fn take(memory: &(impl GenerationMemory + ?Sized), index: u32) -> Option<Self> {
        let value = memory.generation(index)?.now();
        Some(Self { index, value })
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

/// Ends the validity of all facts about the inodes of this word (SP-GEN).
#[inline(always)]
pub fn bump(memory: &(impl GenerationMemory + ?Sized), index: u32) {
    if let Some(word) = memory.generation(index) {
        word.bump();
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::{layout::Blank, sync::GenerationWord};

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
