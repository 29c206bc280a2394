//! The program's side: what is done at a completion (protocol 2 to 7).
//!
//! The BPF program on `io_uring_complete` finds out which ring it is on and calls
//! [`on_completion`]; what it thinks of the request it says in a closure. So the order of all
//! shared accesses is here, for the kernel program and for the models alike.

use crate::{
    counters::ProgramCounters,
    cq::{Completion, Engine},
    index::{LaneIndex, Position, QueueIndex, RingIndex},
    lane::{Dispatch, LaneRoom},
    layout::Ring,
    memory::{Geometry, Memory},
    park::must_wake,
    session::Session,
    slot::{Arrived, Reply},
    sq::{Commit, SqWriter, Sqe},
    sync::weakened,
    tag::{Tag, TagKind},
    wire::Opcode,
};

/// A completion as the tracepoint shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The ring, which the program knows by its `io_ring_ctx` (1.3).
    pub ring: RingIndex,
    /// The queue of that ring.
    pub queue: QueueIndex,
    /// `ctx->cached_cq_tail` - 1 (6.1).
    pub index: Position,
    /// `cqe->user_data`.
    pub user_data: u64,
    /// `cqe->res`.
    pub res: i32,
}

/// What the program thinks of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is answered; the body is in the payload.
    Answer(Reply),
    /// It is refused with this errno, a positive number.
    Deny(i32),
    /// It is the daemon's, by this lane.
    Dispatch(LaneIndex, Opcode),
    /// Something about it is corrupt: the daemon is to look at it.
    Leave,
}

/// What became of a completion; for the caller's own accounts. The protocol's counters are kept
/// here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not ours: nothing was touched.
    Foreign,
    /// The program answered or denied.
    Answered,
    /// The request is on a lane.
    Dispatched,
    /// It stands for the daemon.
    Standing,
    /// It was the completion of a wake or a nudge.
    Woken,
}

/// Deals with one completion. The caller is the queue's only program at this moment (2.2).
///
/// `decide` is asked only where an answer could be handed over. It may write a reply's body only if
/// it returns [`Verdict::Answer`]: otherwise the daemon still has to read the request.
#[inline(always)]
pub fn on_completion<M: Memory>(
    memory: &M,
    geometry: &Geometry,
    event: Event,
    decide: impl FnOnce(&Arrived<'_>, u32) -> Verdict,
) -> Outcome {
    let Some(tag) = Tag::from_user_data(event.user_data) else {
        return Outcome::Foreign;
    };
    let rings = geometry.rings_per_queue();
    let queue = event.queue;
    let (Some(completed_on), Some(own), Some(counters)) = (
        memory.ring(event.ring.element(queue, rings)),
        memory.ring(RingIndex::PROGRAM.element(queue, rings)),
        memory.counters(u32::from(queue.0)),
    ) else {
        return Outcome::Foreign;
    };
    let count = &counters.program;
    let found = Completion::identify(completed_on, event.index, event.user_data, geometry.engine);
    let Ok(completion) = found else {
        count.corrupt.add(1);
        return Outcome::Foreign;
    };
    let waker = Waker {
        memory,
        geometry,
        queue,
        own,
        count,
    };
    match tag.kind {
        TagKind::Entry => {}
        TagKind::Wake | TagKind::Nudge => {
            count.wake_completions.add(1);
            if event.res < 0 {
                count.corrupt.add(1);
            }
            if completion.may_be_dealt_with() {
                completion.dealt_with();
            }
            if tag.kind == TagKind::Nudge {
                waker.wake(u32::from(tag.slot.0));
            }
            return Outcome::Woken;
        }
        TagKind::Private => {
            waker.nudge();
            return Outcome::Standing;
        }
    }
    if event.res == 0 && weakened!(StatArrivalsLate) {
        let outcome = deal(memory, geometry, &waker, tag, &completion, decide);
        count.arrivals.add(1);
        return finish(outcome, completion);
    }
    if event.res == 0 {
        count.arrivals.add(1);
        let outcome = deal(memory, geometry, &waker, tag, &completion, decide);
        if outcome == Outcome::Standing {
            count.standing.add(1);
            waker.nudge();
        }
        finish(outcome, completion)
    } else {
        waker.nudge();
        Outcome::Standing
    }
}

#[inline(always)]
fn finish(outcome: Outcome, completion: Completion<'_>) -> Outcome {
    if outcome != Outcome::Standing {
        completion.dealt_with();
    }
    outcome
}

#[inline(always)]
fn deal<M: Memory>(
    memory: &M,
    geometry: &Geometry,
    waker: &Waker<'_, M>,
    tag: Tag,
    completion: &Completion<'_>,
    decide: impl FnOnce(&Arrived<'_>, u32) -> Verdict,
) -> Outcome {
    let (queue, count) = (waker.queue, waker.count);
    if tag.queue != queue || u32::from(tag.slot.0) >= geometry.depth {
        count.corrupt.add(1);
        return Outcome::Standing;
    }
    let element = tag.slot.element(queue, geometry.depth);
    let (Some(slot), Some(control)) = (memory.slot(element), memory.control()) else {
        return Outcome::Standing;
    };
    let closing = Session::of(control) == Session::Closing && !weakened!(SessionIgnored);
    if closing || !completion.may_be_dealt_with() {
        return Outcome::Standing;
    }
    let Ok(arrived) = slot.arrive() else {
        count.corrupt.add(1);
        return Outcome::Standing;
    };
    let mut sq = SqWriter::attach(waker.own);
    let Ok(room) = sq.reserve() else {
        count.corrupt.add(1);
        return Outcome::Standing;
    };
    let (reply, counter) = match decide(&arrived, element) {
        Verdict::Answer(reply) => (reply, &count.answered),
        Verdict::Deny(errno) => (Reply::Errno(errno), &count.denied),
        Verdict::Dispatch(lane, opcode) => {
            let dispatch = Dispatch {
                unique: arrived.unique(),
                slot: tag.slot,
                queue,
                opcode,
            };
            return hand_over(memory, geometry, waker, arrived, lane, dispatch);
        }
        Verdict::Leave => {
            count.corrupt.add(1);
            return Outcome::Standing;
        }
    };
    let commit = Commit {
        queue,
        tag: Tag {
            ring: RingIndex::PROGRAM,
            ..tag
        },
    };
    arrived.answer(reply, room, commit);
    counter.add(1);
    if let Reply::Body(len) = reply {
        count.bytes_out.add(u64::from(len));
    }
    Outcome::Answered
}

#[inline(always)]
fn hand_over<M: Memory>(
    memory: &M,
    geometry: &Geometry,
    waker: &Waker<'_, M>,
    arrived: Arrived<'_>,
    lane: LaneIndex,
    dispatch: Dispatch,
) -> Outcome {
    let lane_element = lane.element(waker.queue);
    let room = memory.lane(lane_element).map(LaneRoom::reserve);
    let Some(Ok(room)) = room else {
        waker.count.corrupt.add(1);
        return Outcome::Standing;
    };
    let consumer = geometry.consumer_of(lane_element);
    if weakened!(ParkClaimBeforePublish) {
        waker.wake(consumer);
        arrived.dispatch(dispatch, room);
        waker.count.dispatched.add(1);
        return Outcome::Dispatched;
    }
    arrived.dispatch(dispatch, room);
    waker.count.dispatched.add(1);
    waker.wake(consumer);
    Outcome::Dispatched
}

/// Wakes consumers of one queue, in the kernel engine (7.3, 7.4).
struct Waker<'m, M> {
    memory: &'m M,
    geometry: &'m Geometry,
    queue: QueueIndex,
    own: &'m Ring,
    count: &'m ProgramCounters,
}

impl<M: Memory> Waker<'_, M> {
    /// Wakes the consumer if it sleeps. Without a place in the SQ it wakes by itself, later (6.7).
    #[inline(always)]
    fn wake(&self, consumer: u32) {
        if self.geometry.engine == Engine::Worker {
            return;
        }
        let Some(park) = self.memory.park(consumer) else {
            return;
        };
        if must_wake(park) {
            let address = self.geometry.park_address(consumer);
            self.submit(consumer, TagKind::Wake, |tag| Sqe::futex_wake(address, tag));
            self.count.wakes.add(1);
        }
    }

    /// Makes the kernel complete something after this completion is published, so that the
    /// program can wake the consumer of the queue's first lane then (6.7).
    #[inline(always)]
    fn nudge(&self) {
        if self.geometry.engine == Engine::Worker {
            return;
        }
        let consumer = self
            .geometry
            .consumer_of(LaneIndex::METADATA.element(self.queue));
        if weakened!(NudgeWakesAtOnce) {
            self.wake(consumer);
            return;
        }
        self.submit(consumer, TagKind::Nudge, Sqe::nop);
    }

    #[inline(always)]
    fn submit(&self, consumer: u32, kind: TagKind, sqe: impl FnOnce(Tag) -> Sqe) {
        let tag = Tag {
            cookie: self.geometry.cookie,
            kind,
            ring: RingIndex::PROGRAM,
            queue: self.queue,
            slot: crate::index::SlotIndex(consumer as u16),
        };
        match SqWriter::attach(self.own).reserve() {
            Ok(room) => room.publish(&sqe(tag)),
            Err(_) => self.count.corrupt.add(1),
        }
    }
}
