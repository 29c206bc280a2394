//! The slot word: who owns a ring entry, and for which request (protocol 3).

use crate::{error::Corrupt, index::Unique};

/// The states of a slot. A word with another number is corrupt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// Never had a request; the kernel's.
    Free = 0,
    /// A request came; the program's.
    Requested = 1,
    /// The program gave the reply; the kernel's.
    Answered = 2,
    /// On a lane.
    Dispatched = 3,
    /// The daemon's.
    Replying = 4,
    /// The daemon gave the reply; the kernel's.
    Committed = 5,
}

/// The slot word's value: state and request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// The state.
    pub state: State,
    /// The request; 0 in [`State::Free`].
    pub unique: u64,
}

impl Ownership {
    #[inline(always)]
    pub(crate) const fn word(state: State, unique: Unique) -> u64 {
        unique.get() << 3 | state as u64
    }

    /// Takes a slot word apart.
    ///
    /// # Errors
    ///
    /// If there is no such state.
    pub const fn from_word(word: u64) -> Result<Self, Corrupt> {
        let state = match word & 7 {
            0 => State::Free,
            1 => State::Requested,
            2 => State::Answered,
            3 => State::Dispatched,
            4 => State::Replying,
            5 => State::Committed,
            _ => return Err(Corrupt::SlotWord(word)),
        };
        Ok(Self {
            state,
            unique: word >> 3,
        })
    }

    /// Whether a request is in the slot that nobody has answered.
    pub const fn is_in_use(self) -> bool {
        matches!(
            self.state,
            State::Requested | State::Dispatched | State::Replying
        )
    }
}
