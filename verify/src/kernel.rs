//! FUSE and io_uring as far as the protocol depends on them, for the models.
//!
//! Built from the kernel's sources (Linux 6.18), each step with its place there. What is assumed of
//! the kernel is just what this file does; `docs/testing.md` lists it.
//!
//! A [`Kernel`] belongs to one model thread: the poll thread in the kernel engine, the worker inside
//! `io_uring_enter` in the worker engine. The BPF program runs inside it, as it does in the kernel: it
//! is [`transport::program::on_completion`] itself.

#[cfg(shmfuse_loom)]
use loom::sync::Arc;
use std::collections::VecDeque;
#[cfg(not(shmfuse_loom))]
use std::sync::Arc;
use transport::{
    index::{LaneIndex, Position, QueueIndex, RingIndex, SlotIndex},
    layout::{CQ_ENTRIES, Ring, SQ_ENTRIES},
    memory::{Geometry, Memory},
    program::{Event, Outcome, Verdict, on_completion},
    slot::{Arrived, Reply},
    tag::{Tag, TagKind},
    testing::Heap,
    wire::Opcode,
};

/// What the program is to do with a request of a model; it travels as the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Be answered by the program.
    Answer = 3,
    /// Be dispatched to the metadata lane.
    Dispatch = 1,
    /// Be left standing.
    Leave = 9,
}

/// What is added to a request's value in its reply.
pub const REPLY: u64 = 1000;

/// A request of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its number.
    pub unique: u64,
    /// What the program does with it.
    pub ask: Ask,
}

impl Request {
    /// A request whose value, to be found in the reply, is its number.
    pub const fn new(unique: u64, ask: Ask) -> Self {
        Self { unique, ask }
    }
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With its own reply.
    Replied,
    /// With an errno.
    Errno(i32),
    /// By the end of the connection.
    Aborted,
}

/// The kernel's side of one queue.
pub struct Kernel {
    memory: Arc<Heap>,
    geometry: Geometry,
    waiting: VecDeque<Request>,
    /// `queue->fpq.processing`: the request that lies in each slot.
    held: Vec<Option<Request>>,
    /// The ring of each slot's pending command.
    on_ring: Vec<Option<RingIndex>>,
    sq_head: [Position; 2],
    cq_tail: [Position; 2],
    connected: bool,
    /// Every request that has ended, in order.
    pub ended: Vec<(u64, End)>,
    /// Commits with an id that is not known (`-ENOENT`); a correct daemon makes none.
    pub refused: u32,
    /// What a FUTEX_WAKE does.
    pub futex_wake: Box<dyn FnMut() + Send>,
    /// Copies a request's payload into the slot: slot and unique.
    pub copy_in: Box<dyn FnMut(usize, u64) + Send>,
    /// Copies a reply's payload out of the slot: slot and unique.
    pub copy_out: Box<dyn FnMut(usize, u64) + Send>,
}

const QUEUE: QueueIndex = QueueIndex(0);

impl Kernel {
    /// A queue whose entries were registered on the ring that the daemon writes, with `requests`
    /// waiting.
    pub fn new(memory: Arc<Heap>, geometry: Geometry, requests: &[Request]) -> Self {
        let depth = geometry.depth as usize;
        let registered_on = RingIndex((geometry.rings_per_queue() - 1) as u8);
        let position = |ring: u32, of: fn(&Ring) -> Position| {
            memory
                .ring(ring % geometry.rings_per_queue())
                .map_or(Position::ZERO, of)
        };
        let sq = |ring: &Ring| ring.words.sq_tail.own();
        let cq = |ring: &Ring| ring.words.cq_head.observe();
        Self {
            sq_head: [position(0, sq), position(1, sq)],
            cq_tail: [position(0, cq), position(1, cq)],
            waiting: requests.iter().copied().collect(),
            held: vec![None; depth],
            on_ring: vec![Some(registered_on); depth],
            connected: true,
            ended: Vec::new(),
            refused: 0,
            futex_wake: Box::new(|| {}),
            copy_in: Box::new(|_, _| {}),
            copy_out: Box::new(|_, _| {}),
            memory,
            geometry,
        }
    }

    /// A request arrives while the model runs.
    pub fn push(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// One turn of the poll thread (`io_sq_thread`): both SQs, then task work. Whether it did
    /// anything.
    pub fn turn(&mut self) -> bool {
        let mut did = false;
        for ring in 0..self.geometry.rings_per_queue() {
            did |= self.submit(RingIndex(ring as u8), u32::MAX) > 0;
        }
        did | self.task_work()
    }

    /// Puts waiting requests into free entries (`fuse_uring_send_in_task`).
    pub fn task_work(&mut self) -> bool {
        let mut did = false;
        for slot in 0..self.held.len() {
            did |= self.fetch(slot);
        }
        did
    }

    /// Consumes up to `count` SQEs (`io_submit_sqes`), and returns how many.
    pub fn submit(&mut self, index: RingIndex, count: u32) -> u32 {
        let memory = self.memory.clone();
        let ring = ring(&memory, &self.geometry, index);
        // io_sqring_entries: acquire, and never more than there are
        let tail = ring.words.sq_tail.observe();
        let entries = tail.distance_from(self.sq_head[usize::from(index.0)]);
        let entries = (entries as u32).min(SQ_ENTRIES as u32).min(count);
        let mut sqes = Vec::new();
        for _ in 0..entries {
            let head = &mut self.sq_head[usize::from(index.0)];
            let sqe = &ring.sqes[head.place::<SQ_ENTRIES>()];
            sqes.push((sqe.user_data(), sqe.commit_id()));
            *head = head.next();
        }
        for (user_data, commit_id) in sqes {
            self.issue(index, user_data, commit_id);
        }
        if entries > 0 {
            // io_commit_sqring: the places come back when the whole batch is done
            ring.words
                .sq_head
                .release(self.sq_head[usize::from(index.0)]);
        }
        entries
    }

    fn issue(&mut self, ring: RingIndex, user_data: u64, commit_id: u64) {
        let tag = Tag::from_user_data(user_data).expect("an SQE carries a tag");
        match tag.kind {
            TagKind::Entry | TagKind::Private => self.commit_and_fetch(ring, tag, commit_id),
            TagKind::Wake => {
                (self.futex_wake)();
                self.complete(ring, user_data, 0);
            }
            TagKind::Nudge => self.complete(ring, user_data, 0),
        }
    }

    /// `fuse_uring_commit_fetch`.
    fn commit_and_fetch(&mut self, ring: RingIndex, tag: Tag, commit_id: u64) {
        if !self.connected {
            return self.complete(ring, tag.to_user_data(), -107);
        }
        let found = self
            .held
            .iter()
            .position(|held| held.is_some_and(|request| request.unique == commit_id));
        let Some(slot) = found else {
            self.refused += 1;
            return self.complete(ring, tag.to_user_data(), -2);
        };
        let request = self.held[slot].take().expect("it was just found");
        self.end_with_reply(slot, request);
        self.on_ring[slot] = Some(ring);
        self.fetch(slot);
    }

    /// `fuse_uring_commit`: takes the reply out of the slot, and judges it.
    fn end_with_reply(&mut self, slot: usize, request: Request) {
        let header = &self.slot(slot).header;
        let error = (header.in_out()[0].get() >> 32) as u32 as i32;
        let end = if error == 0 {
            assert_eq!(
                header.unique().get(),
                request.unique,
                "a reply to another request"
            );
            let value = header.op_in()[0].get();
            assert_eq!(value, request.unique + REPLY, "a reply with another's data");
            (self.copy_out)(slot, request.unique);
            End::Replied
        } else {
            End::Errno(error)
        };
        self.end(request, end);
    }

    fn end(&mut self, request: Request, end: End) {
        let twice = self
            .ended
            .iter()
            .any(|(unique, _)| *unique == request.unique);
        assert!(!twice, "request {} ended twice", request.unique);
        self.ended.push((request.unique, end));
    }

    fn slot(&self, slot: usize) -> &transport::layout::Slot {
        self.memory.slot(slot as u32).expect("the slot is there")
    }

    /// `fuse_uring_next_fuse_req`: copies the next request into a free entry and completes it.
    fn fetch(&mut self, slot: usize) -> bool {
        let Some(ring) = self.on_ring[slot] else {
            return false;
        };
        let Some(request) = self.waiting.pop_front() else {
            return false;
        };
        let header = &self.slot(slot).header;
        header.in_out()[0].set(40 | (request.ask as u64) << 32);
        header.unique().set(request.unique);
        header.op_in()[0].set(request.unique);
        header.payload_len().set(0);
        header.commit_id().set(request.unique);
        (self.copy_in)(slot, request.unique);
        self.held[slot] = Some(request);
        self.on_ring[slot] = None;
        let tag = Tag {
            cookie: self.geometry.cookie,
            kind: TagKind::Entry,
            ring,
            queue: QUEUE,
            slot: SlotIndex(slot as u16),
        };
        self.complete(ring, tag.to_user_data(), 0);
        true
    }

    /// `io_fill_cqe_req` and `io_commit_cqring`: the CQE, the program, the tail.
    fn complete(&mut self, index: RingIndex, user_data: u64, res: i32) {
        let memory = self.memory.clone();
        let ring = ring(&memory, &self.geometry, index);
        let tail = self.cq_tail[usize::from(index.0)];
        let head = ring.words.cq_head.kernel_observes();
        let standing = tail.distance_from(head);
        assert!(
            standing < CQ_ENTRIES as u64,
            "the CQ overflows: {standing} stand"
        );
        let cqe = &ring.cqes[tail.place::<CQ_ENTRIES>()];
        cqe.user_data.set(user_data);
        cqe.res.set(res as u32);
        cqe.flags.set(0);
        let event = Event {
            ring: index,
            queue: QUEUE,
            index: tail,
            user_data,
            res,
        };
        run_program(&memory, &self.geometry, event);
        self.cq_tail[usize::from(index.0)] = tail.next();
        ring.words.cq_tail.publish(tail.next());
    }

    /// `fuse_abort_conn`: every request that is not committed ends.
    pub fn abort(&mut self) {
        self.connected = false;
        let held: Vec<_> = self.held.iter_mut().filter_map(Option::take).collect();
        for request in held.into_iter().chain(std::mem::take(&mut self.waiting)) {
            self.end(request, End::Aborted);
        }
    }
}

fn ring<'m>(memory: &'m Heap, geometry: &Geometry, index: RingIndex) -> &'m Ring {
    memory
        .ring(index.element(QUEUE, geometry.rings_per_queue()))
        .expect("the ring is there")
}

/// The BPF program of the models: does what the request asks for.
fn run_program(memory: &Heap, geometry: &Geometry, event: Event) -> Outcome {
    on_completion(memory, geometry, event, |arrived: &Arrived<'_>, _| {
        let header = &arrived.slot().header;
        match header.in_out()[0].get() >> 32 {
            op if op == Ask::Answer as u64 => {
                let value = &header.op_in()[0];
                value.set(value.get() + REPLY);
                Verdict::Answer(Reply::Body(8))
            }
            op if op == Ask::Dispatch as u64 => {
                Verdict::Dispatch(LaneIndex::METADATA, Opcode(op as u32))
            }
            _ => Verdict::Leave,
        }
    })
}
