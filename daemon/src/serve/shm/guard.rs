//! Looks for requests that got lost.
//!
//! A request that has come is in one of four places: answered, with the daemon, on a lane, or in a
//! completion that stands. If somebody writes to the shared memory who should not, it may be in none of
//! them: its application would wait for good. The guard looks at all slots once a second, and ends the
//! mount when it finds such a request twice in a row (protocol 10.3): then the application is told.

use crate::{
    bpf::{SharedMemory, ledger::Known},
    error::{Error, Result},
};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};
use transport::{
    cq::SEEN,
    index::{LaneIndex, Position, QueueIndex, RingIndex, SlotIndex},
    layout::{CQ_ENTRIES, LANE_ENTRIES, Slot},
    memory::Memory,
    ownership::State,
    tag::{Tag, TagKind},
};

/// Time between two looks. Twice this is how long an application waits for a lost request.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks until `end` hangs up.
///
/// # Errors
///
/// [`Error::Lost`]: a request is lost.
pub fn watch(memory: &SharedMemory, end: &Receiver<Infallible>) -> Result<()> {
    let mut suspects = HashMap::new();
    loop {
        match end.recv_timeout(PERIOD) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(never) => match never {},
        }
        // What is on its way from one place to another at this moment is in none of them, too; the
        // next look finds it elsewhere, or another request in its slot.
        let now: HashMap<u32, u64> = missing(memory).collect();
        let lost = now
            .iter()
            .find(|&(slot, unique)| suspects.get(slot) == Some(unique));
        if let Some((&slot, &unique)) = lost {
            return Err(Error::Lost { unique, slot });
        }
        suspects = now;
    }
}

/// Requests that are in none of the four places, by the elements of their slots.
fn missing(memory: &SharedMemory) -> impl Iterator<Item = (u32, u64)> {
    let sizes = *memory.sizes();
    let elements = (0..sizes.queues).flat_map(move |queue| {
        (0..sizes.depth).map(move |slot| (QueueIndex(queue as u16), SlotIndex(slot as u16)))
    });
    elements.filter_map(move |(queue, index)| {
        let element = index.element(queue, sizes.depth);
        let unique = unanswered(memory.slot(element)?)?;
        let known = memory.ledger().knows(element, unique);
        let found = known != Known::Not
            || on_a_lane(memory, queue, unique)
            || in_a_completion(memory, queue, index);
        (!found).then_some((element, unique))
    })
}

/// The request in a slot, unless the program says that it has answered it. A header that is garbled is
/// seen to where its completion is taken.
fn unanswered(slot: &Slot) -> Option<u64> {
    let unique = slot.header.unique().get();
    if unique == 0 || unique != slot.header.commit_id().get() {
        return None;
    }
    let answered = slot
        .ownership()
        .is_ok_and(|owner| owner.state == State::Answered && owner.unique == unique);
    (!answered).then_some(unique)
}

fn on_a_lane(memory: &SharedMemory, queue: QueueIndex, unique: u64) -> bool {
    [LaneIndex::METADATA, LaneIndex::BULK].iter().any(|lane| {
        let Some(lane) = memory.lane(lane.element(queue)) else {
            return false;
        };
        let (tail, head) = (lane.tail.0.observe(), lane.head.0.observe());
        between::<LANE_ENTRIES>(head, tail).any(|place| lane.entries[place].unique.get() == unique)
    })
}

fn in_a_completion(memory: &SharedMemory, queue: QueueIndex, slot: SlotIndex) -> bool {
    let rings = memory.sizes().rings;
    (0..rings as u8).any(|ring| {
        let Some(ring) = memory.ring(RingIndex(ring).element(queue, rings)) else {
            return false;
        };
        let (tail, head) = (ring.words.cq_tail.observe(), ring.words.cq_head.observe());
        between::<CQ_ENTRIES>(head, tail).any(|place| {
            let cqe = &ring.cqes[place];
            let tag = Tag::from_user_data(cqe.user_data.get());
            tag.is_some_and(|tag| tag.kind == TagKind::Entry && tag.slot == slot)
                && cqe.flags.get() & SEEN == 0
        })
    })
}

/// The places from `head` to `tail` in a ring of `N`; none if the two cannot be.
fn between<const N: usize>(head: Position, tail: Position) -> impl Iterator<Item = usize> {
    let count = tail.distance_from(head);
    let count = if count <= N as u64 { count as u32 } else { 0 };
    (0..count).map(move |ahead| head.plus(ahead).place::<N>())
}
