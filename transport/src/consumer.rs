//! The daemon's side: the next request, wherever it was left (protocol 3.4, 4.3, 6.4).

use crate::{
    cq::{CqReader, Cqe},
    error::Corrupt,
    index::QueueIndex,
    lane::{Dispatch, LaneConsumer},
    memory::{Geometry, Memory},
    slot::Taken,
    sync::weakened,
    tag::{Tag, TagKind},
};

/// What a lane had to give.
#[derive(Debug)]
pub enum FromLane<'m> {
    /// A request, taken.
    Request(Taken<'m>, Dispatch),
    /// An entry whose slot has gone on, or that was corrupt: dropped. To be counted.
    Dropped(Corrupt),
    /// Nothing waits.
    Empty,
}

/// Takes the oldest request of a lane.
///
/// # Errors
///
/// If the lane's positions cannot be: requests may be lost, and the mount is to end (10.3).
pub fn next_of_lane<'m, M: Memory>(
    memory: &'m M,
    geometry: &Geometry,
    lane: &mut LaneConsumer<'_>,
) -> Result<FromLane<'m>, Corrupt> {
    let dispatch = match lane.front() {
        Ok(Some(dispatch)) => dispatch,
        Ok(None) => return Ok(FromLane::Empty),
        Err(corrupt @ Corrupt::Positions { .. }) => return Err(corrupt),
        Err(corrupt) => {
            lane.release();
            return Ok(FromLane::Dropped(corrupt));
        }
    };
    if weakened!(LaneReleaseBeforeTake) {
        lane.release();
        crate::sync::crash_point();
        return Ok(take(memory, geometry, dispatch));
    }
    let taken = take(memory, geometry, dispatch);
    crate::sync::crash_point();
    lane.release();
    Ok(taken)
}

fn take<'m, M: Memory>(memory: &'m M, geometry: &Geometry, dispatch: Dispatch) -> FromLane<'m> {
    let in_range = u32::from(dispatch.slot.0) < geometry.depth
        && u32::from(dispatch.queue.0) < geometry.queues;
    let element = dispatch.slot.element(dispatch.queue, geometry.depth);
    let slot = if in_range { memory.slot(element) } else { None };
    let Some(slot) = slot else {
        return FromLane::Dropped(Corrupt::Slot(dispatch.slot.0));
    };
    match slot.take(dispatch.unique) {
        Ok(taken) => FromLane::Request(taken, dispatch),
        Err(corrupt) => FromLane::Dropped(corrupt),
    }
}

/// What a CQ had to give.
#[derive(Debug)]
pub enum FromCq<'m> {
    /// A request that the program left standing, taken.
    Request(Taken<'m>, Tag),
    /// A completion without a request, or one that the program has dealt with.
    Done,
    /// A command failed: the result of the completion. A refused commit loses its entry, and the
    /// mount is to end; `-ENOTCONN` and its like say that it has ended (6.5).
    Failed(Tag, i32),
    /// Nothing stands.
    Empty,
}

/// Takes the oldest standing completion of a ring, and consumes it.
///
/// # Errors
///
/// If the completion cannot be: requests may be lost, and the mount is to end (10.3).
pub fn next_of_cq<'m, M: Memory>(
    memory: &'m M,
    geometry: &Geometry,
    queue: QueueIndex,
    cq: &mut CqReader<'_>,
) -> Result<FromCq<'m>, Corrupt> {
    let Some(cqe) = cq.front()? else {
        return Ok(FromCq::Empty);
    };
    let taken = of_cqe(memory, geometry, queue, cqe);
    cq.consume();
    taken
}

fn of_cqe<'m, M: Memory>(
    memory: &'m M,
    geometry: &Geometry,
    queue: QueueIndex,
    cqe: Cqe,
) -> Result<FromCq<'m>, Corrupt> {
    let tag = Tag::from_user_data(cqe.user_data).ok_or(Corrupt::Tag(cqe.user_data))?;
    if cqe.seen || tag.kind != TagKind::Entry {
        return Ok(FromCq::Done);
    }
    if cqe.res != 0 {
        return Ok(FromCq::Failed(tag, cqe.res));
    }
    if tag.queue != queue || u32::from(tag.slot.0) >= geometry.depth {
        return Err(Corrupt::Tag(cqe.user_data));
    }
    let element = tag.slot.element(queue, geometry.depth);
    let slot = memory.slot(element).ok_or(Corrupt::Slot(tag.slot.0))?;
    Ok(FromCq::Request(slot.take_standing()?, tag))
}
