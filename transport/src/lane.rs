//! Lanes: index rings from the program to one consumer (protocol 4).

use crate::{
    error::{Corrupt, PushError},
    index::{Position, QueueIndex, SlotIndex, Unique, used},
    layout::{LANE_ENTRIES, Lane, LaneEntry},
    sync::weakened,
    wire::Opcode,
};

/// What a lane entry says: this request is the consumer's.
///
/// The decision travels here and nowhere in the slot: a flag there would be the next request's by
/// the time it is read (protocol 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dispatch {
    /// The request.
    pub unique: Unique,
    /// The slot it lies in.
    pub slot: SlotIndex,
    /// The queue of that slot.
    pub queue: QueueIndex,
    /// What is asked; a hint, for choosing whom to give it to.
    pub opcode: Opcode,
}

impl LaneEntry {
    #[inline(always)]
    fn write(&self, dispatch: Dispatch) {
        self.unique.set(dispatch.unique.get());
        let what = u64::from(dispatch.slot.0)
            | u64::from(dispatch.queue.0) << 16
            | u64::from(dispatch.opcode.0) << 32;
        self.what.set(what);
    }

    #[inline(always)]
    fn read(&self) -> Result<Dispatch, Corrupt> {
        let number = self.unique.get();
        let what = self.what.get();
        let unique = Unique::new(number).ok_or(Corrupt::Header {
            unique: number,
            commit_id: number,
        })?;
        Ok(Dispatch {
            unique,
            slot: SlotIndex(what as u16),
            queue: QueueIndex((what >> 16) as u16),
            opcode: Opcode((what >> 32) as u32),
        })
    }
}

/// The program's end: a place to write. Made anew at each arrival, by [`reserve`](Self::reserve).
#[derive(Debug)]
#[must_use = "a reserved place is published or given up"]
pub struct LaneRoom<'m, const N: usize = LANE_ENTRIES> {
    lane: &'m Lane<N>,
    tail: Position,
}

impl<'m, const N: usize> LaneRoom<'m, N> {
    /// Reserves the next place. The caller is the lane's producer.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`], which a correct lane never is; [`PushError::Corrupt`], if the positions
    /// cannot be.
    #[inline(always)]
    pub fn reserve(lane: &'m Lane<N>) -> Result<Self, PushError> {
        let tail = lane.tail.0.own();
        let head = lane.head.0.observe();
        match used::<u32, N>(tail, head) {
            Some(n) if n < N || weakened!(LaneIgnoresFull) => Ok(Self { lane, tail }),
            Some(_) => Err(PushError::Full),
            None => Err(Corrupt::Positions {
                tail: tail.0,
                head: head.0,
            }
            .into()),
        }
    }

    /// Writes the entry and hands it over (SP-LANE).
    #[inline(always)]
    pub fn publish(self, dispatch: Dispatch) {
        if weakened!(LaneTailBeforeEntry) {
            self.lane.tail.0.publish(self.tail.next());
        }
        if let Some(entry) = self.lane.entries.get(self.tail.place::<N>()) {
            entry.write(dispatch);
        }
        self.lane.tail.0.publish(self.tail.next());
    }
}

/// The consumer's end. There is one per lane.
#[derive(Debug)]
pub struct LaneConsumer<'m, const N: usize = LANE_ENTRIES> {
    lane: &'m Lane<N>,
    /// Our own copy: the word in the map is for the program (protocol 10.4).
    head: Position,
}

impl<'m, const N: usize> LaneConsumer<'m, N> {
    /// Becomes the lane's consumer, where its predecessor stopped (protocol 9.2).
    ///
    /// # Errors
    ///
    /// If the positions cannot be.
    pub fn attach(lane: &'m Lane<N>) -> Result<Self, Corrupt> {
        let head = lane.head.0.own();
        let consumer = Self { lane, head };
        consumer.len()?;
        Ok(consumer)
    }

    /// How many entries wait.
    ///
    /// # Errors
    ///
    /// If the positions cannot be.
    pub fn len(&self) -> Result<usize, Corrupt> {
        let tail = self.lane.tail.0.observe();
        used::<u32, N>(tail, self.head).ok_or(Corrupt::Positions {
            tail: tail.0,
            head: self.head.0,
        })
    }

    /// Whether no entry waits.
    ///
    /// # Errors
    ///
    /// If the positions cannot be.
    pub fn is_empty(&self) -> Result<bool, Corrupt> {
        Ok(self.len()? == 0)
    }

    /// The oldest entry, which stays in the lane until it is released. Take its slot first
    /// (protocol 4.3).
    ///
    /// # Errors
    ///
    /// [`Corrupt::Positions`] if the positions cannot be: the lane is beyond repair. Any other value:
    /// this one entry is of no use; release it.
    pub fn front(&self) -> Result<Option<Dispatch>, Corrupt> {
        if self.len()? == 0 {
            return Ok(None);
        }
        match self.lane.entries.get(self.head.place::<N>()) {
            Some(entry) => entry.read().map(Some),
            None => Ok(None),
        }
    }

    /// Gives the oldest entry back to the producer (SP-LANE-FREE). To be called once for each
    /// [`front`](Self::front), after the slot was taken.
    pub fn release(&mut self) {
        self.head = self.head.next();
        self.lane.head.0.release(self.head);
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::layout::Blank;

    fn dispatch(n: u64) -> Dispatch {
        Dispatch {
            unique: Unique::new(n).unwrap(),
            slot: SlotIndex(n as u16),
            queue: QueueIndex(7),
            opcode: Opcode::READ,
        }
    }

    #[test]
    fn entries_come_out_in_order_across_the_wrap_of_the_positions() {
        let lane = Lane::<4>::blank();
        let start = Position(u32::MAX - 1);
        lane.tail.0.publish(start);
        lane.head.0.release(start);
        let mut consumer = LaneConsumer::attach(&lane).unwrap();
        for n in 1..20 {
            LaneRoom::reserve(&lane).unwrap().publish(dispatch(n));
            assert_eq!(consumer.front(), Ok(Some(dispatch(n))));
            consumer.release();
        }
        assert_eq!(consumer.front(), Ok(None));
    }

    #[test]
    fn a_full_lane_refuses_and_takes_again_after_a_release() {
        let lane = Lane::<2>::blank();
        let mut consumer = LaneConsumer::attach(&lane).unwrap();
        for n in 1..=2 {
            LaneRoom::reserve(&lane).unwrap().publish(dispatch(n));
        }
        assert_eq!(LaneRoom::reserve(&lane).unwrap_err(), PushError::Full);
        consumer.release();
        assert!(LaneRoom::reserve(&lane).is_ok());
    }

    #[test]
    fn positions_further_apart_than_the_lane_is_long_are_corrupt_to_both_ends() {
        let lane = Lane::<2>::blank();
        let consumer = LaneConsumer::attach(&lane).unwrap();
        for tail in [3, u32::MAX, 1 << 31] {
            lane.tail.0.publish(Position(tail));
            let corrupt = Corrupt::Positions { tail, head: 0 };
            assert_eq!(consumer.front(), Err(corrupt));
            assert_eq!(LaneRoom::reserve(&lane).unwrap_err(), corrupt.into());
            assert_eq!(LaneConsumer::attach(&lane).unwrap_err(), corrupt);
        }
    }

    #[test]
    fn an_entry_without_a_possible_unique_is_corrupt() {
        let lane = Lane::<2>::blank();
        let consumer = LaneConsumer::attach(&lane).unwrap();
        LaneRoom::reserve(&lane).unwrap().publish(dispatch(1));
        for number in [0, 1 << 61, u64::MAX] {
            lane.entries[0].unique.set(number);
            assert!(matches!(consumer.front(), Err(Corrupt::Header { .. })));
        }
    }
}
