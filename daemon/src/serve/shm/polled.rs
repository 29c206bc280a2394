//! A queue's rings in the kernel engine: two in map memory, whose SQs one kernel thread polls.
//!
//! Ring 0 is written by the program alone, ring 1 by the queue's consumer alone (docs/protocol.md,
//! 2.4). To the consumer, a [`Worker`](crate::serve::uring::worker::Worker), they are one [`Ring`].
#![expect(unsafe_code, reason = "the rings lie in given memory")]

use super::{
    parked::{ParkBell, Patience, Slept},
    poll_threads::Registrar,
    queue::Queue,
    setup::{Poller, Uring},
};
use crate::{
    bpf::SharedMemory,
    error::{Error, Result},
    serve::uring::{
        bell::Bell,
        entry::{Commit, EntryIndex, QueueId},
        pace::set_prompt,
        ring::{Event, Ring},
    },
};
use std::{io, os::fd::BorrowedFd, sync::Arc};
use transport::{
    error::PushError,
    index::{LaneIndex, RingIndex},
    memory::Geometry,
    rules::Ruling,
    sq::{SqWriter, Sqe},
    wire::Opcode,
};

/// The rings of one queue in the kernel engine.
pub struct PolledRing {
    // The rings before the queue: what is closed does not touch its memory. The one that uses the
    // other's thread is the first.
    daemon: Uring,
    program: Uring,
    queue: Queue,
    bell: Arc<ParkBell>,
    patience: Patience,
    /// Ends the watch over the poll thread when it is dropped.
    _registrar: Registrar,
}

impl PolledRing {
    /// The rings of `queue`, for commands to `device`, which is `/dev/fuse`, with a poll thread on the queue's CPU that sleeps after `idle_ms` without
    /// work. Only the calling thread may use them.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says, with the remedy.
    pub fn new(
        queue: QueueId,
        device: BorrowedFd<'_>,
        memory: Arc<SharedMemory>,
        geometry: Geometry,
        idle_ms: u32,
        registrar: Registrar,
    ) -> Result<Self> {
        let queue = Queue::new(queue, memory, geometry)?;
        let addresses = |ring| {
            let element = queue.ring_element(ring);
            let found = queue.memory().ring_addresses(element);
            found.ok_or_else(|| Error::Protocol(format!("no memory for ring {element}")))
        };
        let own = Poller::Own {
            cpu: Some(queue.index().0.into()),
            idle_ms,
        };
        let (sqes, words) = addresses(RingIndex::PROGRAM)?;
        // SAFETY: a ring of the map, fresh and so zeroed, page-aligned by its type; the queue keeps it
        // mapped and is dropped after the ring.
        let program = unsafe { Uring::polled(sqes, words, own) }?;
        let attached = Poller::Of {
            ring: &program,
            idle_ms,
        };
        let (sqes, words) = addresses(RingIndex::DAEMON)?;
        // SAFETY: as above.
        let daemon = unsafe { Uring::polled(sqes, words, attached) }?;
        for ring in [&program, &daemon] {
            ring.register_device(device)?;
        }
        registrar.add_of_this_thread();
        if let Err(error) = set_prompt(0) {
            tracing::debug!(%error, "a consumer has its turns as any thread has");
        }
        let consumer = geometry.consumer_of(LaneIndex::METADATA.element(queue.index()));
        let bell = ParkBell::new(Arc::clone(queue.memory()), consumer)
            .ok_or_else(|| Error::Protocol(format!("no parking word {consumer}")))?;
        Ok(Self {
            daemon,
            program,
            queue,
            bell: Arc::new(bell),
            patience: Patience::MAX,
            _registrar: registrar,
        })
    }

    /// Makes room if need be: entries beyond the slots and registrations have no place of their own
    /// in the SQ.
    fn push(&mut self, sqe: &Sqe) -> io::Result<()> {
        loop {
            match self.queue.push(sqe) {
                Ok(()) => return Ok(()),
                Err(PushError::Full) => match self.daemon.wait_for_room() {
                    Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                    _ => {}
                },
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Nothing has come for a while, which may be since nobody takes what was submitted (protocol 10.3):
    /// a ring that is closed is noticed, and a poll thread that sleeps in spite of work is woken.
    fn check_pollers(&self) -> io::Result<()> {
        let rings = [
            (RingIndex::PROGRAM, &self.program),
            (RingIndex::DAEMON, &self.daemon),
        ];
        for (index, uring) in rings {
            match SqWriter::attach(self.queue.ring(index)).is_pending() {
                true => uring.wake_poller()?,
                false => uring.check_poller()?,
            }
        }
        Ok(())
    }
}

impl Ring for PolledRing {
    const WAKES_APPLICATIONS: bool = false;

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

    /// Nothing is to be done: the bell is looked at with everything else.
    fn listen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What was pushed is published; the poll thread may have to be told (protocol 5.3). Without cause it
    /// is left to sleep: once woken it polls for some ticks.
    fn submit(&mut self) -> io::Result<()> {
        let sq = SqWriter::attach(self.queue.ring(self.queue.own_ring()));
        if sq.is_pending() && sq.needs_wakeup() {
            self.daemon.wake_poller()?;
        }
        Ok(())
    }

    fn submit_and_wait(&mut self) -> io::Result<()> {
        self.queue.check()?;
        self.submit()?;
        if self.bell.has_rung() || self.queue.has_work() {
            return Ok(());
        }
        self.queue.count().parks.add(1);
        let slept = self.bell.sleep(self.patience, || self.queue.has_work())?;
        if slept == Slept::Rescued {
            self.queue.count().rescued.add(1);
            // Of many in a row it says so once.
            if self.patience == Patience::MAX {
                tracing::warn!(queue = self.queue.index().0, "a wake-up was lost");
            }
        }
        self.patience = self.patience.after(slept);
        match slept {
            Slept::InVain | Slept::Rescued => self.check_pollers(),
            Slept::Not | Slept::Well => Ok(()),
        }
    }

    fn ruling(&self, entry: EntryIndex) -> Ruling {
        self.queue.ruling(entry)
    }

    fn count_merge(&self, opcode: Opcode, width: usize) {
        self.queue.count_merge(opcode, width);
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        self.queue.take_events(events);
        if self.bell.has_rung() {
            events.push(Event::Woken { last: false });
        }
    }
}
