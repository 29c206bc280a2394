//! A queue's ring in map memory, where a kernel program takes part.
//!
//! To the worker it is a [`Ring`] like the private one. What differs is how a request is taken: from a
//! lane, where the program put it, or from a completion that the program left standing; and that a
//! commit is a move of the slot word (docs/protocol.md, 3.4 and 3.5).
#![expect(
    unsafe_code,
    reason = "commands carry addresses; what was taken is what makes an entry ours"
)]

use super::setup::Uring;
use crate::{
    bpf::{SharedMemory, shared::PAYLOAD_STRIDE},
    error::{Error, Result},
    fuse,
    serve::uring::{
        entry::{Arrived, Commit, EntryIndex, Lost, QueueId},
        memory::Chunk,
        ring::{Event, Ring},
    },
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::Arc,
};
use transport::{
    consumer::{FromCq, FromLane, next_of_cq, next_of_lane},
    counters::OpCounters,
    cq::CqReader,
    index::{LaneIndex, Position, QueueIndex, RingIndex, SlotIndex},
    lane::LaneConsumer,
    layout::DaemonCounters,
    memory::{Geometry, Memory},
    ownership::{Ownership, State},
    slot::{CommitError, Held, Reply, Taken},
    sq::{self, SqWriter, Sqe},
    tag::{Tag, TagKind},
    wire::Opcode,
};

/// `user_data` of the watched descriptor: no tag, so that the program leaves it alone.
const WATCH: u64 = u64::MAX;
/// `user_data` of an entry in private memory, less its index: no tag either. Such entries are
/// registered when locks take up all slots of the map.
const PRIVATE: u64 = 1 << 32;
/// `IORING_CQE_F_MORE` (include/uapi/linux/io_uring.h).
const MORE: u32 = 1 << 1;

/// The entries of one queue, in the maps.
///
/// # Errors
///
/// If the maps have no such queue.
pub fn chunk(queue: QueueId, memory: &Arc<SharedMemory>) -> Result<Chunk> {
    let sizes = *memory.sizes();
    let first = u32::from(queue.0) * sizes.depth;
    let (Some(headers), Some(payloads)) =
        (memory.header_address(first), memory.payload_address(first))
    else {
        return Err(Error::Protocol(format!("no memory for queue {}", queue.0)));
    };
    // SAFETY: `depth` slots and payloads follow each other at these strides in the maps, by
    // `SharedMemory`'s layout, and the owner keeps them mapped. Payloads are reached through the chunk
    // alone; of the headers others have atomics only (`transport::layout::Slot`).
    Ok(unsafe {
        Chunk::shared(
            (headers, size_of::<transport::layout::Slot>()),
            (payloads, PAYLOAD_STRIDE),
            sizes.payload_len,
            sizes.depth as usize,
            Box::new(Arc::clone(memory)),
        )
    })
}

/// The ring of one queue in the worker engine.
pub struct ShmRing {
    // Before the memory: a ring that is closed does not touch it.
    uring: Uring,
    memory: Arc<SharedMemory>,
    geometry: Geometry,
    queue: QueueIndex,
    /// SQEs that the kernel has been told of.
    submitted: Position,
    /// Requests that were taken and not committed, by slot.
    held: Vec<Option<(Held, Opcode)>>,
    /// What REGISTER commands point to, until the ring is closed.
    #[expect(clippy::vec_box, reason = "their addresses must not change")]
    buffers: Vec<Box<[libc::iovec; 2]>>,
    /// A value in shared memory that no correct peer writes: the mount is to end (protocol 10.3).
    corrupt: Option<transport::error::Corrupt>,
}

impl ShmRing {
    /// The ring of `queue`. Only the calling thread may use it.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says, with the remedy.
    pub fn new(queue: QueueId, memory: Arc<SharedMemory>, geometry: Geometry) -> Result<Self> {
        let queue = QueueIndex(queue.0);
        let element = RingIndex::PROGRAM.element(queue, geometry.rings_per_queue());
        let (sqes, words) = memory
            .ring_addresses(element)
            .ok_or_else(|| Error::Protocol(format!("no memory for the ring of {queue:?}")))?;
        // SAFETY: a ring of the map, fresh and so zeroed, page-aligned by its type; `memory` keeps it
        // mapped and is dropped after the ring.
        let uring = unsafe { Uring::for_one_thread(sqes, words) }?;
        Ok(Self {
            uring,
            geometry,
            queue,
            submitted: Position::ZERO,
            held: (0..memory.sizes().depth).map(|_| None).collect(),
            memory,
            buffers: Vec::new(),
            corrupt: None,
        })
    }

    fn ring(&self) -> &transport::layout::Ring {
        let element = RingIndex::PROGRAM.element(self.queue, self.geometry.rings_per_queue());
        self.memory.ring(element).expect("`new` has looked it up")
    }

    fn count(&self) -> &DaemonCounters {
        let counters = self.memory.counters(u32::from(self.queue.0));
        &counters.expect("there is one for each queue").daemon
    }

    fn count_op(&self, opcode: Opcode) -> &OpCounters {
        let counters = self.memory.ops(self.queue, opcode);
        counters.expect("there is one for each queue and opcode")
    }

    fn tag(&self, entry: EntryIndex) -> Tag {
        Tag {
            cookie: self.geometry.cookie,
            kind: TagKind::Entry,
            ring: RingIndex::PROGRAM,
            queue: self.queue,
            slot: SlotIndex(entry.0 as u16),
        }
    }

    fn count_reply(&self, opcode: Opcode, reply: fuse::Reply) {
        let (queue, op) = (self.count(), self.count_op(opcode));
        let bytes = reply.body_len() as u64;
        queue.commits.add(1);
        op.commits.add(1);
        queue.bytes_out.add(bytes);
        op.bytes_out.add(bytes);
        if matches!(reply, fuse::Reply::Error(_)) {
            queue.errors.add(1);
            op.errors.add(1);
        }
    }

    fn is_private(&self, entry: EntryIndex) -> bool {
        entry.0 >= self.geometry.depth
    }

    fn push(&mut self, sqe: &Sqe) -> io::Result<()> {
        let mut sq = SqWriter::attach(self.ring());
        let room = sq.reserve().map_err(io::Error::other)?;
        room.publish(sqe);
        Ok(())
    }

    fn enter(&mut self, min_complete: u32) -> io::Result<()> {
        let tail = SqWriter::attach(self.ring()).tail();
        let to_submit = tail.distance_from(self.submitted) as u32;
        let taken = self.uring.enter(to_submit, min_complete)?;
        self.submitted = self.submitted.plus(taken);
        Ok(())
    }

    /// The request is the worker's from here on.
    fn taken(
        &mut self,
        slot: SlotIndex,
        taken: Taken<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), transport::error::Corrupt> {
        // What the header says is checked where it is served; here it only counts.
        let opcode = taken.header().map_or(Opcode(0), |header| header.opcode);
        let bytes = taken.payload_len(u32::MAX).map_or(0, u64::from);
        self.count().bytes_in.add(bytes);
        self.count_op(opcode).bytes_in.add(bytes);
        let held = taken.hold();
        let element = slot.element(self.queue, self.geometry.depth);
        let unique = held.unique().get();
        if !self.memory.ledger().take(element, unique) {
            return Err(transport::error::Corrupt::Answered(unique));
        }
        if let Some(place) = self.held.get_mut(usize::from(slot.0)) {
            *place = Some((held, opcode));
        }
        // SAFETY: the slot was taken by compare-exchange, which succeeds once per request, after the
        // kernel had completed the entry's latest command with success.
        events.push(Event::Arrived(unsafe {
            Arrived::new(EntryIndex(u32::from(slot.0)))
        }));
        Ok(())
    }

    fn take_from_cq(&mut self, events: &mut Vec<Event>) -> Result<(), transport::error::Corrupt> {
        let memory = Arc::clone(&self.memory);
        loop {
            let mut cq = CqReader::new(self.ring());
            let Some(cqe) = cq.front()? else {
                return Ok(());
            };
            if cqe.user_data == WATCH {
                let last = cqe.flags & MORE == 0;
                cq.consume();
                events.push(Event::Woken { last });
                continue;
            }
            if cqe.user_data >> 32 == PRIVATE >> 32 {
                cq.consume();
                let entry = EntryIndex(cqe.user_data as u32);
                events.push(match cqe.res {
                    // SAFETY: the one completion of the latest command of an entry that the program
                    // does not know, and it succeeded.
                    0 => Event::Arrived(unsafe { Arrived::new(entry) }),
                    // SAFETY: a command that failed is not held by the kernel.
                    res => Event::Lost(unsafe { Lost::new(entry, -res) }),
                });
                continue;
            }
            match next_of_cq(&*memory, &self.geometry, self.queue, &mut cq)? {
                FromCq::Request(taken, tag) => {
                    self.count().taken_standing.add(1);
                    self.taken(tag.slot, taken, events)?;
                }
                FromCq::Failed(tag, res) => {
                    let entry = EntryIndex(u32::from(tag.slot.0));
                    // SAFETY: the entry's latest command has failed.
                    events.push(Event::Lost(unsafe { Lost::new(entry, -res) }));
                }
                FromCq::Done => {}
                FromCq::Empty => return Ok(()),
            }
        }
    }

    fn take_from_lane(
        &mut self,
        lane: LaneIndex,
        events: &mut Vec<Event>,
    ) -> Result<(), transport::error::Corrupt> {
        let memory = Arc::clone(&self.memory);
        let Some(lane) = memory.lane(lane.element(self.queue)) else {
            return Ok(());
        };
        let mut lane = LaneConsumer::attach(lane)?;
        loop {
            match next_of_lane(&*memory, &self.geometry, &mut lane)? {
                FromLane::Request(taken, dispatch) => {
                    self.count().taken.add(1);
                    self.taken(dispatch.slot, taken, events)?;
                }
                FromLane::Dropped(corrupt) if is_on_a_lane_and_answered(corrupt) => {
                    return Err(corrupt);
                }
                FromLane::Dropped(corrupt) => {
                    self.count().stale.add(1);
                    tracing::warn!(queue = self.queue.0, %corrupt, "a lane entry is dropped");
                }
                FromLane::Empty => return Ok(()),
            }
        }
    }
}

/// Whether what made a lane entry useless is that its slot claims to be answered: no program puts an
/// answered request on a lane, so this one is lost.
fn is_on_a_lane_and_answered(corrupt: transport::error::Corrupt) -> bool {
    match corrupt {
        transport::error::Corrupt::SlotWord(word) => {
            Ownership::from_word(word).is_ok_and(|owner| owner.state == State::Answered)
        }
        _ => false,
    }
}

impl Ring for ShmRing {
    unsafe fn register(&mut self, entry: EntryIndex, buffers: [libc::iovec; 2]) -> io::Result<()> {
        let buffers = Box::new(buffers);
        let address = std::ptr::from_ref(&*buffers) as u64;
        self.buffers.push(buffers);
        let mut sqe = Sqe::register(self.geometry.fuse_fd, address, self.queue, self.tag(entry));
        if self.is_private(entry) {
            sqe = sqe.with_user_data(PRIVATE | u64::from(entry.0));
        }
        self.push(&sqe)
    }

    fn commit(&mut self, commit: Commit) -> io::Result<()> {
        let reply = commit.reply();
        let (entry, commit_id) = commit.into_parts();
        let commit = sq::Commit {
            fuse_fd: self.geometry.fuse_fd,
            queue: self.queue,
            tag: self.tag(entry),
        };
        if self.is_private(entry) {
            let unique = transport::index::Unique::new(commit_id)
                .ok_or_else(|| io::Error::other("a commit without a request"))?;
            return self.push(
                &commit
                    .sqe(unique)
                    .with_user_data(PRIVATE | u64::from(entry.0)),
            );
        }
        let (held, opcode) = self
            .held
            .get_mut(entry.0 as usize)
            .and_then(Option::take)
            .ok_or_else(|| io::Error::other("a commit of a request that was not taken"))?;
        self.count_reply(opcode, reply);
        let element = SlotIndex(entry.0 as u16).element(self.queue, self.geometry.depth);
        self.memory.ledger().answer(element);
        let slot = self
            .memory
            .slot(element)
            .ok_or_else(|| io::Error::other("a commit of a slot that is not there"))?;
        let reply = match reply.header(commit_id) {
            Some(header) if header.error != 0 => Reply::Errno(-header.error),
            _ => Reply::Body(reply.body_len() as u32),
        };
        let mut sq = SqWriter::attach(self.ring());
        slot.resume(held)
            .commit(reply, &mut sq, commit)
            .map_err(|why| match why {
                CommitError::Sq(_, why) => io::Error::other(why),
                CommitError::Overtaken(why) => io::Error::other(why),
            })
    }

    fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.push(&Sqe::poll(fd.as_raw_fd() as u32, WATCH))
    }

    fn submit(&mut self) -> io::Result<()> {
        self.enter(0)
    }

    fn submit_and_wait(&mut self) -> io::Result<()> {
        if let Some(corrupt) = self.corrupt.take() {
            self.count().corrupt.add(1);
            return Err(io::Error::other(corrupt));
        }
        self.enter(1)
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        let taken = self
            .take_from_cq(events)
            .and_then(|()| self.take_from_lane(LaneIndex::METADATA, events))
            .and_then(|()| self.take_from_lane(LaneIndex::BULK, events));
        // What was taken before is served; then the mount ends.
        self.corrupt = taken.err();
    }
}
