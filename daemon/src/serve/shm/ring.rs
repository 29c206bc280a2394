//! A queue's ring in the worker engine: the worker's own, in map memory.
//!
//! To the worker it is a [`Ring`] like the private one.
#![expect(unsafe_code, reason = "the ring lies in given memory")]

use super::{
    queue::{Queue, WATCH},
    setup::Uring,
};
use crate::{
    bpf::SharedMemory,
    error::{Error, Result},
    serve::uring::{
        anchor::{ANCHOR, Anchor},
        bell::{Bell, EventBell},
        entry::{Commit, EntryIndex, QueueId},
        ring::{Event, Ring},
    },
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
};
use transport::{
    index::{Position, RingIndex},
    memory::Geometry,
    rules::Ruling,
    sq::{SqWriter, Sqe},
    wire::Opcode,
};

/// The ring of one queue in the worker engine.
pub struct ShmRing {
    // Before the queue: a ring that is closed does not touch its memory.
    uring: Uring,
    queue: Queue,
    bell: Arc<EventBell>,
    anchor: Anchor,
    /// SQEs that the kernel has been told of.
    submitted: Position,
}

impl ShmRing {
    /// The ring of `queue`, for commands to `device`, which is `/dev/fuse`. Only the calling thread may use it.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says, with the remedy.
    pub fn new(
        queue: QueueId,
        device: BorrowedFd<'_>,
        memory: Arc<SharedMemory>,
        geometry: Geometry,
    ) -> Result<Self> {
        let queue = Queue::new(queue, memory, geometry)?;
        let element = queue.ring_element(RingIndex::PROGRAM);
        let (sqes, words) = queue
            .memory()
            .ring_addresses(element)
            .ok_or_else(|| Error::Protocol(format!("no memory for ring {element}")))?;
        // SAFETY: a ring of the map, fresh and so zeroed, page-aligned by its type; the queue keeps it
        // mapped and is dropped after the ring.
        let uring = unsafe { Uring::for_one_thread(sqes, words) }?;
        uring.register_device(device)?;
        let mut ring = Self {
            uring,
            queue,
            bell: Arc::new(EventBell::new()?),
            anchor: Anchor::new()?,
            submitted: Position::ZERO,
        };
        let poll = Sqe::poll(ring.anchor.fd() as u32, ANCHOR);
        ring.push(&poll)
            .map_err(|source| Error::system("cannot give an io_uring a command", source))?;
        Ok(ring)
    }

    fn push(&mut self, sqe: &Sqe) -> io::Result<()> {
        self.queue.push(sqe).map_err(io::Error::other)
    }

    fn enter(&mut self, min_complete: u32) -> io::Result<()> {
        let tail = SqWriter::attach(self.queue.ring(RingIndex::PROGRAM)).tail();
        let to_submit = tail.distance_from(self.submitted) as u32;
        let taken = self.uring.enter(to_submit, min_complete)?;
        self.submitted = self.submitted.plus(taken);
        Ok(())
    }
}

impl Ring for ShmRing {
    const WAKES_APPLICATIONS: bool = true;

    fn bell(&self) -> Arc<dyn Bell> {
        Arc::clone(&self.bell) as Arc<dyn Bell>
    }

    unsafe fn register(&mut self, entry: EntryIndex, buffers: [libc::iovec; 2]) -> io::Result<()> {
        // SAFETY: the caller's promise.
        let command = unsafe { self.queue.register(entry, buffers) };
        self.push(&command)
    }

    fn commit(&mut self, commit: Commit) -> io::Result<()> {
        match self.queue.commit(commit)? {
            Some(command) => self.push(&command),
            None => Ok(()),
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        let bell = self.bell.as_fd().as_raw_fd() as u32;
        self.push(&Sqe::poll(bell, WATCH))
    }

    fn submit(&mut self) -> io::Result<()> {
        self.enter(0)
    }

    fn submit_and_wait(&mut self) -> io::Result<()> {
        self.queue.check()?;
        self.enter(1)
    }

    fn ruling(&self, entry: EntryIndex) -> Ruling {
        self.queue.ruling(entry)
    }

    fn count_merge(&self, opcode: Opcode, width: usize) {
        self.queue.count_merge(opcode, width);
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        self.queue.take_events(events);
    }
}
