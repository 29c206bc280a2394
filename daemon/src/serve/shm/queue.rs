//! A queue, from the daemon's end: how requests are taken from it and answered.
//!
//! What differs from private entries is that a request is taken from a lane, where the program put
//! it, or from a completion that the program left standing; and that a commit is a move of the slot
//! word (docs/protocol.md, 3.4 and 3.5).
#![expect(
    unsafe_code,
    reason = "commands carry addresses; what was taken is what makes an entry ours"
)]

use crate::{
    bpf::{SharedMemory, shared::PAYLOAD_STRIDE},
    error::{Error, Result},
    fuse,
    serve::uring::{
        anchor::{ANCHOR, Anchor},
        entry::{Arrived, Commit, EntryIndex, Lost, QueueId},
        memory::Chunk,
        ring::Event,
    },
};
use std::{io, sync::Arc};
use transport::{
    consumer::{FromCq, FromLane, next_of_cq, next_of_lane},
    counters::OpCounters,
    cq::{CqReader, Engine},
    error::{Corrupt, PushError},
    index::{LaneIndex, QueueIndex, RingIndex, SlotIndex, Unique},
    lane::LaneConsumer,
    layout::{DaemonCounters, Ring},
    memory::{Geometry, Memory},
    ownership::{Ownership, State},
    rules::Ruling,
    slot::{CommitError, Held, Reply, Taken},
    sq::{self, SqRoom, SqWriter, Sqe},
    tag::{Tag, TagKind},
    wire::Opcode,
};

/// `user_data` of a watched descriptor: no tag, so that the program leaves it alone.
pub const WATCH: u64 = u64::MAX;
/// `IORING_CQE_F_MORE` (include/uapi/linux/io_uring.h).
const MORE: u32 = 1 << 1;
const LANES: [LaneIndex; 2] = [LaneIndex::METADATA, LaneIndex::BULK];

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

/// The slots, lanes and rings of one queue. One thread has it.
pub struct Queue {
    memory: Arc<SharedMemory>,
    geometry: Geometry,
    index: QueueIndex,
    /// Requests that were taken and not committed, by slot.
    held: Vec<Option<(Held, Opcode)>>,
    /// What the program ruled on them.
    rulings: Vec<Ruling>,
    /// What REGISTER commands point to, until the rings are closed.
    #[expect(clippy::vec_box, reason = "their addresses must not change")]
    buffers: Vec<Box<[libc::iovec; 2]>>,
    /// A value in shared memory that no correct peer writes: the mount is to end (protocol 10.3).
    corrupt: Option<Corrupt>,
}

impl Queue {
    /// The queue `index` of the mount. There is to be one value of each.
    ///
    /// # Errors
    ///
    /// If the maps have no such queue.
    pub fn new(queue: QueueId, memory: Arc<SharedMemory>, geometry: Geometry) -> Result<Self> {
        let index = QueueIndex(queue.0);
        let rings = memory.sizes().queues * memory.sizes().rings;
        let last = geometry.rings_per_queue().saturating_sub(1) as u8;
        if RingIndex(last).element(index, geometry.rings_per_queue()) >= rings {
            return Err(Error::Protocol(format!("no memory for queue {}", queue.0)));
        }
        Ok(Self {
            geometry,
            index,
            held: (0..memory.sizes().depth).map(|_| None).collect(),
            rulings: vec![Ruling::Undecided; memory.sizes().depth as usize],
            memory,
            buffers: Vec::new(),
            corrupt: None,
        })
    }

    /// The maps.
    pub fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    /// The mount.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Which queue.
    pub fn index(&self) -> QueueIndex {
        self.index
    }

    /// The ring whose SQ the daemon writes (protocol 2.3, 2.4).
    pub fn own_ring(&self) -> RingIndex {
        match self.geometry.engine {
            Engine::Worker => RingIndex::PROGRAM,
            Engine::Kernel => RingIndex::DAEMON,
        }
    }

    /// A ring of the queue.
    pub fn ring(&self, ring: RingIndex) -> &Ring {
        let element = self.ring_element(ring);
        self.memory.ring(element).expect("`new` has looked it up")
    }

    /// The element of a ring in the map of rings.
    pub fn ring_element(&self, ring: RingIndex) -> u32 {
        ring.element(self.index, self.geometry.rings_per_queue())
    }

    /// What is counted about the queue.
    pub fn count(&self) -> &DaemonCounters {
        let counters = self.memory.counters(u32::from(self.index.0));
        &counters.expect("there is one for each queue").daemon
    }

    fn count_op(&self, opcode: Opcode) -> &OpCounters {
        let counters = self.memory.ops(self.index, opcode);
        counters.expect("there is one for each queue and opcode")
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

    /// So many requests were executed together.
    pub fn count_merge(&self, opcode: Opcode, width: usize) {
        let count = self.count();
        let (joint, merged) = match opcode {
            Opcode::WRITE => (&count.writes_joint, &count.writes_merged),
            _ => (&count.reads_joint, &count.reads_merged),
        };
        joint.add(1);
        merged.add(width as u64);
    }

    fn rings(&self) -> impl Iterator<Item = RingIndex> + use<> {
        let rings = match self.geometry.engine {
            Engine::Worker => &[RingIndex::PROGRAM][..],
            Engine::Kernel => &[RingIndex::PROGRAM, RingIndex::DAEMON][..],
        };
        rings.iter().copied()
    }

    /// Entries beyond the slots lie in private memory. They are registered when locks take up all
    /// slots of the map, and the program leaves them to the daemon (protocol 6.9).
    fn tag(&self, entry: EntryIndex) -> Tag {
        let kind = if entry.0 < self.geometry.depth {
            TagKind::Entry
        } else {
            TagKind::Private
        };
        Tag {
            cookie: self.geometry.cookie,
            kind,
            ring: self.own_ring(),
            queue: self.index,
            slot: SlotIndex(entry.0 as u16),
        }
    }

    /// Hands `sqe` to the kernel, on the daemon's ring.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] if there is no place at the moment; [`PushError::Corrupt`].
    pub fn push(&self, sqe: &Sqe) -> Result<(), PushError> {
        let mut sq = SqWriter::attach(self.ring(self.own_ring()));
        sq.reserve().map(|room: SqRoom<'_, '_>| room.publish(sqe))
    }

    /// What the program ruled on the request in an entry; of private ones it knows nothing.
    pub fn ruling(&self, entry: EntryIndex) -> Ruling {
        let ruling = self.rulings.get(entry.0 as usize);
        ruling.copied().unwrap_or(Ruling::Undecided)
    }

    /// Whether something can be taken.
    pub fn has_work(&self) -> bool {
        let lane_has = |lane: LaneIndex| {
            let lane = self.memory.lane(lane.element(self.index));
            let len = lane.map_or(Ok(0), |lane| LaneConsumer::attach(lane)?.len());
            // What is corrupt is found out by who takes.
            !matches!(len, Ok(0))
        };
        let stands = |ring| !matches!(CqReader::new(self.ring(ring)).front(), Ok(None));
        LANES.into_iter().any(lane_has) || self.rings().any(stands)
    }

    /// Fails if shared memory was found corrupt when events were taken.
    ///
    /// # Errors
    ///
    /// What was found; once.
    pub fn check(&mut self) -> io::Result<()> {
        match self.corrupt.take() {
            None => Ok(()),
            Some(corrupt) => {
                self.count().corrupt.add(1);
                Err(io::Error::other(corrupt))
            }
        }
    }

    /// Takes all there is: what stands, and what lies in the lanes.
    pub fn take_events(&mut self, events: &mut Vec<Event>) {
        let mut taken = Ok(());
        for ring in self.rings() {
            taken = taken.and_then(|()| self.take_from_cq(ring, events));
            taken = taken.and_then(|()| self.check_head(ring));
        }
        for lane in LANES {
            taken = taken.and_then(|()| self.take_from_lane(lane, events));
        }
        // What was taken before is served; then the mount ends.
        self.corrupt = taken.err();
    }

    /// In the worker engine the head is the calling thread's alone: one that is ahead of the tail was moved by somebody
    /// else, and the kernel would wait for completions up to there before it says that any has come.
    fn check_head(&self, ring: RingIndex) -> Result<(), Corrupt> {
        let words = &self.ring(ring).words;
        // The tail only grows.
        let head = words.cq_head.observe();
        let tail = words.cq_tail.observe();
        if self.geometry.engine == Engine::Worker && head.is_ahead_of(tail) {
            let (tail, head) = (tail.0, head.0);
            return Err(Corrupt::Positions { tail, head });
        }
        Ok(())
    }

    /// The request is the worker's from here on.
    fn taken(
        &mut self,
        slot: SlotIndex,
        taken: Taken<'_>,
        ruling: Ruling,
        events: &mut Vec<Event>,
    ) -> Result<(), Corrupt> {
        // What the header says is checked where it is served; here it only counts.
        let opcode = taken.header().map_or(Opcode(0), |header| header.opcode);
        let bytes = taken.payload_len(u32::MAX).map_or(0, u64::from);
        self.count().bytes_in.add(bytes);
        self.count_op(opcode).bytes_in.add(bytes);
        let held = taken.hold();
        let element = slot.element(self.index, self.geometry.depth);
        let unique = held.unique().get();
        if !self.memory.ledger().take(element, unique) {
            return Err(Corrupt::Answered(unique));
        }
        if let Some(place) = self.held.get_mut(usize::from(slot.0)) {
            *place = Some((held, opcode));
        }
        if let Some(place) = self.rulings.get_mut(usize::from(slot.0)) {
            *place = ruling;
        }
        // SAFETY: the slot was taken by compare-exchange, which succeeds once per request, after the
        // kernel had completed the entry's latest command with success.
        events.push(Event::Arrived(unsafe {
            Arrived::new(EntryIndex(u32::from(slot.0)))
        }));
        Ok(())
    }

    fn take_from_cq(&mut self, ring: RingIndex, events: &mut Vec<Event>) -> Result<(), Corrupt> {
        let memory = Arc::clone(&self.memory);
        loop {
            let mut cq = CqReader::new(self.ring(ring));
            let Some(cqe) = cq.front()? else {
                return Ok(());
            };
            if cqe.user_data == WATCH {
                cq.consume();
                events.push(Event::Woken {
                    last: cqe.flags & MORE == 0,
                });
                continue;
            }
            if cqe.user_data == ANCHOR {
                cq.consume();
                Anchor::lost(cqe.res);
                continue;
            }
            let private =
                Tag::from_user_data(cqe.user_data).filter(|tag| tag.kind == TagKind::Private);
            if let Some(tag) = private {
                cq.consume();
                let entry = EntryIndex(u32::from(tag.slot.0));
                events.push(match cqe.res {
                    // SAFETY: the one completion of the latest command of an entry that the program does not know, and it succeeded.
                    0 => Event::Arrived(unsafe { Arrived::new(entry) }),
                    // SAFETY: a command that failed is not held by the kernel.
                    res => Event::Lost(unsafe { Lost::new(entry, -res) }),
                });
                continue;
            }
            match next_of_cq(&*memory, &self.geometry, self.index, &mut cq)? {
                FromCq::Request(taken, tag) => {
                    self.count().taken_standing.add(1);
                    self.taken(tag.slot, taken, Ruling::Undecided, events)?;
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

    fn take_from_lane(&mut self, lane: LaneIndex, events: &mut Vec<Event>) -> Result<(), Corrupt> {
        let memory = Arc::clone(&self.memory);
        let Some(lane) = memory.lane(lane.element(self.index)) else {
            return Ok(());
        };
        let mut lane = LaneConsumer::attach(lane)?;
        loop {
            match next_of_lane(&*memory, &self.geometry, &mut lane)? {
                FromLane::Request(taken, dispatch) => {
                    self.count().taken.add(1);
                    let ruling = taken.noted_ruling();
                    self.taken(dispatch.slot, taken, ruling, events)?;
                }
                FromLane::Dropped(corrupt) if is_on_a_lane_and_answered(corrupt) => {
                    return Err(corrupt);
                }
                FromLane::Dropped(corrupt) => {
                    self.count().stale.add(1);
                    tracing::warn!(queue = self.index.0, %corrupt, "a lane entry is dropped");
                }
                FromLane::Empty => return Ok(()),
            }
        }
    }

    /// The command that gives an entry to the kernel.
    ///
    /// # Safety
    ///
    /// Where the command is submitted: as [`register`](crate::serve::uring::ring::Ring::register).
    pub unsafe fn register(&mut self, entry: EntryIndex, buffers: [libc::iovec; 2]) -> Sqe {
        let buffers = Box::new(buffers);
        let address = std::ptr::from_ref(&*buffers) as u64;
        self.buffers.push(buffers);
        Sqe::register(address, self.index, self.tag(entry))
    }

    /// Answers a request and gives its entry back to the kernel. Some have no slot: their command is returned, to be pushed.
    ///
    /// # Errors
    ///
    /// If there is no place in the SQ, or the slot is not the caller's.
    pub fn commit(&mut self, commit: Commit) -> io::Result<Option<Sqe>> {
        let reply = commit.reply();
        let (entry, commit_id) = commit.into_parts();
        let tag = self.tag(entry);
        let commit = sq::Commit {
            queue: self.index,
            tag,
        };
        if tag.kind == TagKind::Private {
            let unique = Unique::new(commit_id)
                .ok_or_else(|| io::Error::other("a commit without a request"))?;
            return Ok(Some(commit.sqe(unique)));
        }
        let (held, opcode) = self
            .held
            .get_mut(entry.0 as usize)
            .and_then(Option::take)
            .ok_or_else(|| io::Error::other("a commit of a request that was not taken"))?;
        self.count_reply(opcode, reply);
        let element = tag.slot.element(self.index, self.geometry.depth);
        self.memory.ledger().answer(element);
        let slot = self
            .memory
            .slot(element)
            .ok_or_else(|| io::Error::other("a commit of a slot that is not there"))?;
        let reply = match reply.header(commit_id) {
            Some(header) if header.error != 0 => Reply::Errno(-header.error),
            _ => Reply::Body(reply.body_len() as u32),
        };
        let mut sq = SqWriter::attach(self.ring(self.own_ring()));
        slot.resume(held)
            .commit(reply, &mut sq, commit)
            .map(|()| None)
            .map_err(|why| match why {
                CommitError::Sq(_, why) => io::Error::other(why),
                CommitError::Overtaken(why) => io::Error::other(why),
            })
    }
}

/// Whether what made a lane entry useless is that its slot claims to be answered: no program puts an
/// answered request on a lane, so this one is lost.
fn is_on_a_lane_and_answered(corrupt: Corrupt) -> bool {
    match corrupt {
        Corrupt::SlotWord(word) => {
            Ownership::from_word(word).is_ok_and(|owner| owner.state == State::Answered)
        }
        _ => false,
    }
}
