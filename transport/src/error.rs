//! "Not now" and "somebody broke the protocol" are different answers.

use core::fmt;

/// A value in shared memory that no correct peer writes (protocol 10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Corrupt {
    /// Tail and head of a ring are further apart than it has places.
    Positions {
        /// The tail as read.
        tail: u32,
        /// The head as read.
        head: u32,
    },
    /// A header's unique and commit id differ, or are out of range.
    Header {
        /// The request's number as read.
        unique: u64,
        /// The commit id as read.
        commit_id: u64,
    },
    /// The slot word does not fit what is asked of the slot.
    SlotWord(u64),
    /// A lane entry names a slot that does not exist.
    Slot(u16),
    /// A request of this number has been answered before.
    Answered(u64),
    /// A completion's tag is not what the map holds at its index.
    Tag(u64),
    /// A payload length exceeds the payload.
    PayloadLen(u32),
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positions { tail, head } => {
                write!(f, "ring positions out of bounds: tail {tail}, head {head}")
            }
            Self::Header { unique, commit_id } => {
                write!(f, "header with unique {unique} and commit id {commit_id}")
            }
            Self::SlotWord(word) => write!(f, "unexpected slot word {word:#x}"),
            Self::Slot(slot) => write!(f, "no slot {slot}"),
            Self::Tag(tag) => write!(f, "foreign tag {tag:#x}"),
            Self::Answered(unique) => write!(f, "request {unique} came a second time"),
            Self::PayloadLen(len) => write!(f, "payload of {len} bytes"),
        }
    }
}

impl core::error::Error for Corrupt {}

/// Why something was not put into a ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PushError {
    /// Every place is in use.
    Full,
    /// The positions cannot be.
    Corrupt(Corrupt),
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("ring is full"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl core::error::Error for PushError {}

impl From<Corrupt> for PushError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}
