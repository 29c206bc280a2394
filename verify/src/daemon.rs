//! The daemon as far as the models need one: takes requests from a lane and from the CQs, and replies.

use crate::rt::Arc;
use transport::{
    consumer::{FromCq, FromLane, next_of_cq, next_of_lane},
    cq::CqReader,
    index::{LaneIndex, QueueIndex, RingIndex, SlotIndex},
    lane::LaneConsumer,
    layout::Ring,
    memory::{Geometry, Memory},
    slot::{CommitError, Reply, Taken},
    sq::{Commit, SqWriter},
    tag::{Tag, TagKind},
    testing::Heap,
};

use crate::kernel::REPLY;

/// The model's only queue.
pub const QUEUE: QueueIndex = QueueIndex(0);

/// What the commits of a slot have in common, in the models.
pub fn commit(geometry: &Geometry, slot: SlotIndex) -> Commit {
    Commit {
        queue: QUEUE,
        tag: Tag {
            cookie: geometry.cookie,
            kind: TagKind::Entry,
            ring: daemon_ring(geometry),
            queue: QUEUE,
            slot,
        },
    }
}

/// The ring that the daemon commits to.
pub const fn daemon_ring(geometry: &Geometry) -> RingIndex {
    match geometry.rings_per_queue() {
        1 => RingIndex::PROGRAM,
        _ => RingIndex::DAEMON,
    }
}

/// A ring of the model's queue.
pub fn ring<'m>(memory: &'m Arc<Heap>, geometry: &Geometry, index: RingIndex) -> &'m Ring {
    memory
        .ring(index.element(QUEUE, geometry.rings_per_queue()))
        .expect("the ring is there")
}

/// One consumer, which serves the metadata lane and the standing completions of all rings.
pub struct Daemon<'m> {
    memory: &'m Arc<Heap>,
    geometry: Geometry,
    lane: LaneConsumer<'m>,
    cqs: Vec<CqReader<'m>>,
    sq: SqWriter<'m>,
    /// Requests answered.
    pub served: usize,
    /// Lane entries dropped.
    pub dropped: usize,
    /// Results of failed commands.
    pub failed: Vec<i32>,
    /// Reads a request's payload and writes the reply's: slot and unique.
    pub payload: Box<dyn FnMut(SlotIndex, u64) + Send>,
}

impl<'m> Daemon<'m> {
    /// Attaches to a mount's memory.
    pub fn new(memory: &'m Arc<Heap>, geometry: Geometry) -> Self {
        let lane = memory
            .lane(LaneIndex::METADATA.element(QUEUE))
            .expect("the lane is there");
        let cqs = (0..geometry.rings_per_queue() as u8)
            .map(|index| CqReader::new(ring(memory, &geometry, RingIndex(index))))
            .collect();
        Self {
            memory,
            lane: LaneConsumer::attach(lane).expect("the lane's positions are right"),
            cqs,
            sq: SqWriter::attach(ring(memory, &geometry, daemon_ring(&geometry))),
            geometry,
            served: 0,
            dropped: 0,
            failed: Vec::new(),
            payload: Box::new(|_, _| {}),
        }
    }

    /// The writer of the daemon's SQ.
    pub fn sq(&mut self) -> &mut SqWriter<'m> {
        &mut self.sq
    }

    /// Serves one request or completion, if there is one.
    pub fn step(&mut self) -> bool {
        self.step_lane() || self.step_cqs()
    }

    /// Whether something is to be done; looks at the words as they are.
    pub fn has_work(&self) -> bool {
        !self
            .lane
            .is_empty()
            .expect("the lane's positions are right")
            || self
                .cqs
                .iter()
                .any(|cq| cq.front().expect("the CQ's positions are right").is_some())
    }

    fn step_lane(&mut self) -> bool {
        let next = next_of_lane(self.memory.as_ref(), &self.geometry, &mut self.lane);
        match next.expect("the lane's positions are right") {
            FromLane::Request(taken, dispatch) => self.serve(taken, dispatch.slot),
            FromLane::Dropped(_) => self.dropped += 1,
            FromLane::Empty => return false,
        }
        true
    }

    fn step_cqs(&mut self) -> bool {
        for index in 0..self.cqs.len() {
            let cq = &mut self.cqs[index];
            let next = next_of_cq(self.memory.as_ref(), &self.geometry, QUEUE, cq);
            match next.expect("a standing completion that can be") {
                FromCq::Request(taken, tag) => self.serve(taken, tag.slot),
                FromCq::Done => {}
                FromCq::Failed(_, res) => self.failed.push(res),
                FromCq::Empty => continue,
            }
            return true;
        }
        false
    }

    /// Answers with the request's value plus [`REPLY`].
    fn serve(&mut self, taken: Taken<'_>, slot: SlotIndex) {
        let header = taken.header().expect("the header is the request's");
        assert_eq!(header.unique, taken.unique().get());
        let element = slot.element(QUEUE, self.geometry.depth);
        let value = &self
            .memory
            .slot(element)
            .expect("the slot is there")
            .header
            .op_in()[0];
        assert_eq!(value.get(), taken.unique().get(), "another request's data");
        value.set(value.get() + REPLY);
        (self.payload)(slot, taken.unique().get());
        self.reply(taken, slot, Reply::Body(8));
    }

    /// Answers with `reply`.
    pub fn reply(&mut self, taken: Taken<'_>, slot: SlotIndex, reply: Reply) {
        let commit = commit(&self.geometry, slot);
        match taken.commit(reply, &mut self.sq, commit) {
            Ok(()) => self.served += 1,
            Err(CommitError::Sq(_, why)) => panic!("the SQ does not take a commit: {why}"),
            Err(CommitError::Overtaken(corrupt)) => panic!("overtaken: {corrupt}"),
        }
    }
}
