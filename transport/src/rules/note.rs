//! A ruling, noted in the slot of its request by the program for the daemon.
//!
//! The word names the request, so that one of another request says nothing. SP-LANE hands it over.

use super::{Priority, Ruling};
use crate::{index::Unique, layout::Slot};

const UNDECIDED: u64 = 1;
const LANE: u64 = 2;
const DENY: u64 = 1 << 9;
/// Bits of a ruling; the number of the request lies above, as far as there is room.
const BITS: u32 = 16;

impl Ruling {
    #[inline(always)]
    const fn pack(self) -> u64 {
        match self {
            Self::Pass => 0,
            Self::Undecided => UNDECIDED,
            Self::Lane(priority) => LANE + priority as u64,
            Self::Deny(errno) => DENY | errno as u64 & (DENY - 1),
        }
    }

    #[inline(always)]
    const fn unpack(bits: u64) -> Self {
        match bits & 0xffff {
            0 => Self::Pass,
            2 => Self::Lane(Priority::Normal),
            3 => Self::Lane(Priority::Low),
            deny if deny > DENY && deny < 2 * DENY => Self::Deny((deny & (DENY - 1)) as u16),
            _ => Self::Undecided,
        }
    }
}

impl Slot {
    /// The program notes its ruling on the request that has arrived, and reads it back: the verifier
    /// then knows nothing of how it came about, and walks what follows once.
    #[inline(always)]
    pub fn note_ruling(&self, unique: Unique, ruling: Ruling) -> Ruling {
        self.ruling.set(unique.get() << BITS | ruling.pack());
        Ruling::unpack(self.ruling.get())
    }

    /// What the program ruled on the request, which the daemon has taken from a lane: that it may
    /// pass, if nothing is noted.
    pub fn noted_ruling(&self, unique: Unique) -> Ruling {
        let word = self.ruling.get();
        if word >> BITS != unique.get() << BITS >> BITS {
            return Ruling::Pass;
        }
        Ruling::unpack(word)
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::layout::Blank;

    #[test]
    fn a_note_is_read_as_it_was_written_and_by_its_own_request_only() {
        let slot = Slot::blank();
        let [one, other] = [7, 1 << 50].map(|n| Unique::new(n).unwrap());
        let rulings = [
            Ruling::Pass,
            Ruling::Undecided,
            Ruling::Lane(Priority::Normal),
            Ruling::Lane(Priority::Low),
            Ruling::Deny(1),
            Ruling::Deny(511),
        ];
        for ruling in rulings {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(slot.note_ruling(one, ruling), ruling);
                assert_eq!(slot.noted_ruling(one), ruling);
                assert_eq!(slot.noted_ruling(other), Ruling::Pass);
            }
        }
    }
}
