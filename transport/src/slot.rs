//! Slots: who owns an entry, and the moves between owners (protocol 3).
//!
//! | right | who has it | spent by |
//! | --- | --- | --- |
//! | [`Arrived`] | the program, at an arrival | [`answer`](Arrived::answer), [`dispatch`](Arrived::dispatch), or leaving the completion standing |
//! | [`Taken`] | the daemon, after a lane entry or a standing completion | [`commit`](Taken::commit) |
//!
//! Neither can be copied: a request is committed once.

use crate::{
    error::{Corrupt, PushError},
    index::{Position, Unique},
    lane::{Dispatch, LaneRoom},
    layout::{Slot, URING_WORDS_OF_OP_IN},
    ownership::{Ownership, State},
    sq::{Commit, SqRoom, SqWriter},
    sync::weakened,
    wire::{InHeader, OutHeader, URING_IN_OUT_LEN},
};

impl Slot {
    /// Who owns the slot at this moment; for who only counts.
    ///
    /// # Errors
    ///
    /// If the word is corrupt.
    pub fn ownership(&self) -> Result<Ownership, Corrupt> {
        Ownership::from_word(self.word.get())
    }

    #[inline(always)]
    fn header_unique(&self) -> Result<Unique, Corrupt> {
        let (unique, commit_id) = (self.header.unique().get(), self.header.commit_id().get());
        match Unique::new(unique) {
            Some(number) if unique == commit_id => Ok(number),
            _ => Err(Corrupt::Header { unique, commit_id }),
        }
    }

    /// A request has come, and the caller is the program that its completion runs (3.1).
    ///
    /// # Errors
    ///
    /// If the header cannot be: then the completion is left standing.
    #[inline(always)]
    pub fn arrive(&self) -> Result<Arrived<'_>, Corrupt> {
        let unique = self.header_unique()?;
        self.word.set(Ownership::word(State::Requested, unique));
        Ok(Arrived { slot: self, unique })
    }

    /// Takes the request that a lane entry names (3.4).
    ///
    /// # Errors
    ///
    /// The slot word, if the entry is not (any longer) this slot's.
    pub fn take(&self, unique: Unique) -> Result<Taken<'_>, Corrupt> {
        self.word
            .take(
                Ownership::word(State::Dispatched, unique),
                Ownership::word(State::Replying, unique),
            )
            .map(|_| Taken { slot: self, unique })
            .map_err(Corrupt::SlotWord)
    }

    /// Takes the request of a standing completion (6.4).
    ///
    /// # Errors
    ///
    /// If the header cannot be, or if the slot word says that this very request has been dealt with.
    pub fn take_standing(&self) -> Result<Taken<'_>, Corrupt> {
        let unique = self.header_unique()?;
        let word = self.word.get();
        let before = Ownership::from_word(word)?;
        let dealt_with = before.unique == unique.get() && before.state != State::Requested;
        if dealt_with {
            return Err(Corrupt::SlotWord(word));
        }
        self.word
            .take(word, Ownership::word(State::Replying, unique))
            .map(|_| Taken { slot: self, unique })
            .map_err(Corrupt::SlotWord)
    }

    /// Becomes the owner in the place of a consumer that has ended (9.3).
    pub(crate) fn inherit(&self, unique: Unique) -> Taken<'_> {
        Taken { slot: self, unique }
    }

    #[inline(always)]
    fn write_reply(&self, unique: Unique, reply: Reply) {
        // A length beyond all payloads wraps, and the kernel refuses the reply.
        let len = (size_of::<OutHeader>() as u32).wrapping_add(reply.body_len());
        let error = reply.error() as u32;
        if let [first, second, ..] = self.header.in_out() {
            first.set(u64::from(len) | u64::from(error) << 32);
            second.set(unique.get());
        }
        self.header.payload_len().set(u64::from(reply.body_len()));
    }
}

/// What a reply's header says. The body lies in the payload already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Success, with so many bytes of body.
    Body(u32),
    /// An errno, as a positive number. Range: 1 .. 512 (the kernel refuses others,
    /// `fuse_uring_out_header_has_err`).
    Errno(i32),
}

impl Reply {
    const fn body_len(self) -> u32 {
        match self {
            Self::Body(len) => len,
            Self::Errno(_) => 0,
        }
    }

    const fn error(self) -> i32 {
        match self {
            Self::Body(_) => 0,
            Self::Errno(errno) => errno.wrapping_neg(),
        }
    }
}

/// A request that has just come, in the program's hands.
#[derive(Debug)]
pub struct Arrived<'m> {
    slot: &'m Slot,
    unique: Unique,
}

impl<'m> Arrived<'m> {
    /// The request's number.
    pub const fn unique(&self) -> Unique {
        self.unique
    }

    /// The slot, to look at the request.
    pub const fn slot(&self) -> &'m Slot {
        self.slot
    }

    /// Length of the request's payload in bytes, as the kernel says; not checked.
    #[inline(always)]
    pub fn payload_len(&self) -> u32 {
        self.slot.header.payload_len().get() as u32
    }

    /// Answers, the body being in the payload: writes the reply's header, moves the slot, and hands
    /// the commit over (3.2).
    #[inline(always)]
    pub fn answer(self, reply: Reply, room: SqRoom<'_, '_>, commit: Commit) {
        self.slot.write_reply(self.unique, reply);
        self.slot
            .word
            .set(Ownership::word(State::Answered, self.unique));
        room.publish(&commit.sqe(self.unique));
    }

    /// Hands the request to a lane's consumer (3.3). Afterwards the consumer may have to be woken:
    /// [`must_wake`](crate::park::must_wake).
    #[inline(always)]
    pub fn dispatch(self, dispatch: Dispatch, room: LaneRoom<'_>) {
        self.slot
            .word
            .set(Ownership::word(State::Dispatched, self.unique));
        room.publish(Dispatch {
            unique: self.unique,
            ..dispatch
        });
    }
}

/// A request in the daemon's hands.
///
/// Dropped without a commit it would never be answered; who may unwind keeps it where a handler
/// finds it.
#[derive(Debug)]
#[must_use = "a request that was taken is to be committed"]
pub struct Taken<'m> {
    slot: &'m Slot,
    unique: Unique,
}

/// The right of a [`Taken`] without the borrow of its slot: for a daemon that keeps requests beside
/// the memory they lie in. Made by [`Taken::hold`], spent by [`Slot::resume`].
#[derive(Debug)]
#[must_use = "a request that was taken is to be committed"]
pub struct Held(Unique);

impl Held {
    /// The request's number.
    pub const fn unique(&self) -> Unique {
        self.0
    }
}

impl Slot {
    /// The request that was held, which was taken from this slot: of another slot the commit is
    /// refused, because the slot word does not name the request.
    pub fn resume(&self, held: Held) -> Taken<'_> {
        Taken {
            slot: self,
            unique: held.0,
        }
    }
}

/// Why a commit was not made.
#[derive(Debug)]
pub enum CommitError<'m> {
    /// There is no place in the SQ; the request comes back.
    Sq(Taken<'m>, PushError),
    /// The slot is no longer the caller's: a successor has answered. Or the word is corrupt.
    Overtaken(Corrupt),
}

impl<'m> Taken<'m> {
    /// What the program ruled on the request, which was taken from a lane.
    pub fn noted_ruling(&self) -> crate::rules::Ruling {
        self.slot.noted_ruling(self.unique)
    }

    /// Keeps the right and lets go of the slot.
    pub fn hold(self) -> Held {
        Held(self.unique)
    }

    /// The request's number.
    pub const fn unique(&self) -> Unique {
        self.unique
    }

    /// The request's header, copied out.
    ///
    /// # Errors
    ///
    /// If it names another request than the one taken (10.2).
    pub fn header(&self) -> Result<InHeader, Corrupt> {
        let mut words = [0u64; size_of::<InHeader>() / 8];
        for (to, from) in words.iter_mut().zip(self.slot.header.in_out()) {
            *to = from.get();
        }
        let header: InHeader = bytemuck::cast(words);
        if header.unique == self.unique.get() {
            Ok(header)
        } else {
            Err(Corrupt::Header {
                unique: header.unique,
                commit_id: self.unique.get(),
            })
        }
    }

    /// The request's fixed part, copied out: 128 bytes, of which the opcode says how many count.
    pub fn fixed(&self) -> [u8; URING_IN_OUT_LEN] {
        let mut words = [0u64; URING_WORDS_OF_OP_IN];
        for (to, from) in words.iter_mut().zip(self.slot.header.op_in()) {
            *to = from.get();
        }
        bytemuck::cast(words)
    }

    /// Length of the request's payload in bytes.
    ///
    /// # Errors
    ///
    /// If it is more than `bound`, what the payload holds (10.2).
    pub fn payload_len(&self, bound: u32) -> Result<u32, Corrupt> {
        let len = self.slot.header.payload_len().get() as u32;
        if len <= bound {
            Ok(len)
        } else {
            Err(Corrupt::PayloadLen(len))
        }
    }

    /// Answers, the body being in the payload, and hands the commit over (3.5).
    ///
    /// # Errors
    ///
    /// See [`CommitError`].
    pub fn commit(
        self,
        reply: Reply,
        sq: &mut SqWriter<'_>,
        commit: Commit,
    ) -> Result<(), CommitError<'m>> {
        let room = match sq.reserve() {
            Ok(room) => room,
            Err(why) => return Err(CommitError::Sq(self, why)),
        };
        let replying = Ownership::word(State::Replying, self.unique);
        let now = self.slot.word.get();
        if now != replying && !weakened!(SlotCommitUnchecked) {
            return Err(CommitError::Overtaken(Corrupt::SlotWord(now)));
        }
        if weakened!(CommitIdFromHeader) {
            let header = Unique::new(self.slot.header.commit_id().get()).unwrap_or(self.unique);
            room.publish(&commit.sqe(header));
            return Ok(());
        }
        if weakened!(ReplyAfterPublish) {
            room.publish(&commit.sqe(self.unique));
            self.slot.write_reply(self.unique, reply);
            return Ok(());
        }
        self.slot.write_reply(self.unique, reply);
        self.slot.commit_position.set(room.position().0);
        self.slot.commit_pending.set(1);
        crate::sync::crash_point();
        self.slot
            .word
            .commit(replying, Ownership::word(State::Committed, self.unique))
            .map_err(|word| CommitError::Overtaken(Corrupt::SlotWord(word)))?;
        crate::sync::crash_point();
        room.publish(&commit.sqe(self.unique));
        crate::sync::crash_point();
        // No other word of the slot is ours any more; this one is the SQ writer's.
        self.slot.commit_pending.set(0);
        Ok(())
    }
}

/// The place in the SQ of a commit that was begun, and not known to be published.
pub(crate) fn pending_commit(slot: &Slot) -> Option<Position> {
    (slot.commit_pending.get() != 0).then(|| Position(slot.commit_position.get()))
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::layout::Blank;

    fn slot_with(unique: u64) -> Slot {
        let slot = Slot::blank();
        slot.header.unique().set(unique);
        slot.header.commit_id().set(unique);
        slot
    }

    #[test]
    fn a_request_is_taken_once() {
        let slot = slot_with(4);
        let unique = slot.arrive().unwrap().unique();
        slot.word.set(Ownership::word(State::Dispatched, unique));
        let taken = slot.take(unique).unwrap();
        assert_eq!(
            slot.take(unique).unwrap_err(),
            Corrupt::SlotWord(4 << 3 | 4)
        );
        assert_eq!(taken.header().unwrap().unique, 4);
    }

    #[test]
    fn an_old_lane_entry_does_not_take_the_next_request() {
        let slot = slot_with(4);
        let old = slot.arrive().unwrap().unique();
        slot.header.unique().set(6);
        slot.header.commit_id().set(6);
        let new = slot.arrive().unwrap().unique();
        slot.word.set(Ownership::word(State::Dispatched, new));
        assert!(slot.take(old).is_err());
        assert!(slot.take(new).is_ok());
    }

    #[test]
    fn a_standing_completion_of_a_request_that_was_dealt_with_is_corrupt() {
        let slot = slot_with(4);
        let unique = Unique::new(4).unwrap();
        for state in [
            State::Answered,
            State::Dispatched,
            State::Replying,
            State::Committed,
        ] {
            slot.word.set(Ownership::word(state, unique));
            assert!(slot.take_standing().is_err(), "{state:?}");
        }
        slot.word.set(Ownership::word(State::Requested, unique));
        assert!(slot.take_standing().is_ok());
    }

    #[test]
    fn no_header_and_no_slot_word_makes_a_panic() {
        let edges = [
            0,
            1,
            2,
            7,
            1 << 60,
            (1 << 61) - 1,
            1 << 61,
            1 << 63,
            u64::MAX,
        ];
        for unique in edges {
            for commit_id in edges {
                for word in edges {
                    let slot = Slot::blank();
                    slot.header.unique().set(unique);
                    slot.header.commit_id().set(commit_id);
                    slot.word.set(word);
                    let legal = unique == commit_id && Unique::new(unique).is_some();
                    let standing = slot.take_standing().is_ok();
                    assert!(legal || !standing);
                    assert_eq!(slot.arrive().is_ok(), legal);
                }
            }
        }
    }

    #[test]
    fn a_payload_longer_than_the_payload_is_corrupt() {
        let slot = slot_with(4);
        let taken = slot.take_standing().unwrap();
        slot.header.payload_len().set(4097);
        assert_eq!(taken.payload_len(4096), Err(Corrupt::PayloadLen(4097)));
        assert_eq!(taken.payload_len(4097), Ok(4097));
    }

    #[test]
    fn a_header_that_changed_after_the_take_is_corrupt() {
        let slot = slot_with(4);
        let taken = slot.take_standing().unwrap();
        slot.header.unique().set(6);
        assert!(matches!(
            taken.header(),
            Err(Corrupt::Header { unique: 6, .. })
        ));
    }
}
