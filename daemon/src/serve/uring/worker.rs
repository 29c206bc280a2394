//! The thread that serves one queue.
//!
//! ```text
//!        ┌──────────────────── io_uring_enter: submit commits, wait ◄─────────┐
//!        ▼                                                                     │
//!  Arrived ─► receive ─► may it block? ── no ─► serve ─► answer ─► Commit ──────┤
//!                              │ yes                                           │
//!                              ▼                                               │
//!                        blocking pool ─► Mailbox ─► Woken ─► answer ─► Commit ─┘
//! ```
//!
//! The thread never waits for anything but its ring and the lower file system.

use super::{
    entry::{Arrived, EntryIndex, Lost, Owed, QueueId, Request},
    exchange::EntryExchange,
    joint,
    mailbox::{Finished, Mailbox},
    memory::EntryMemory,
    merge::{Piece, plan},
    nudge::Nudges,
    pace::Pace,
    ring::{Event, Ring},
};
use crate::{
    error::{Error, Result},
    fuse::{OwnedExchange, Reply, ServeThread, Session, fulfil::fulfil},
    rules::serving::Course,
};
use std::{collections::HashMap, io, sync::Arc};
use transport::rules::Priority;

/// One queue and what its thread knows of it.
#[derive(Debug)]
pub struct Worker<R> {
    queue: QueueId,
    // Before the memory: a ring that is closed does not touch it.
    ring: R,
    memory: EntryMemory,
    mailbox: Arc<Mailbox>,
    /// Requests that the blocking pool has.
    blocked: HashMap<EntryIndex, Owed>,
    /// The connection is over: what is left is to take the entries back.
    ended: bool,
    spare: Spare,
    pace: Pace,
    events: Vec<Event>,
    /// READs and WRITEs that arrived at one time and may be merged, and what they are about.
    together: (Vec<Option<(Owed, Request)>>, Vec<Piece>),
    /// The kernel has not been told of the latest commits.
    committed: bool,
}

/// How many entries locks may take up before more are registered.
#[derive(Debug)]
struct Spare {
    /// Fewer entries than this without a blocked request: more are registered.
    min: usize,
    /// More have been registered than there were at the start.
    grown: bool,
    /// A request of this inode has gone to the blocking pool since the queue was last nudged.
    detached: Option<u64>,
    nudges: Nudges,
}

impl<R: Ring> Worker<R> {
    /// Registers every entry of `memory` by `ring`, both fresh.
    ///
    /// # Errors
    ///
    /// The ring failed, or the kernel refused an entry.
    pub fn start(queue: QueueId, ring: R, memory: EntryMemory) -> Result<Self> {
        let depth = memory.len();
        let mut worker = Self {
            queue,
            mailbox: Arc::new(Mailbox::new(ring.bell())),
            ring,
            memory,
            blocked: HashMap::new(),
            ended: false,
            spare: Spare {
                min: depth.div_ceil(2),
                grown: false,
                detached: None,
                nudges: Nudges::new(queue),
            },
            pace: if R::WAKES_APPLICATIONS {
                Pace::of_this_thread()
            } else {
                Pace::ordinary()
            },
            events: Vec::with_capacity(depth + 1),
            together: (Vec::with_capacity(depth), Vec::with_capacity(depth)),
            committed: false,
        };
        worker.register().map_err(enter_failed)?;
        // A refusal comes at once; what has arrived besides is served by `run`.
        worker.ring.take_events(&mut worker.events);
        let refused = worker.events.iter().find_map(|event| match event {
            // An unmount may come this early; `run` sees to it.
            Event::Lost(lost) if !lost.connection_ended() => Some(lost.errno()),
            _ => None,
        });
        match refused {
            None => Ok(worker),
            Some(errno) => Err(Error::system(
                "the kernel refused a FUSE ring entry",
                io::Error::from_raw_os_error(errno),
            )
            .with_remedy("--transport classic works without")),
        }
    }

    fn register(&mut self) -> io::Result<()> {
        for entry in 0..self.memory.len() as u32 {
            self.memory.lend(EntryIndex(entry), &mut self.ring)?;
        }
        self.ring.listen()?;
        self.ring.submit()
    }

    /// Serves until the connection ends or the session stops.
    ///
    /// # Errors
    ///
    /// The ring failed, or the kernel or the entries' memory broke the protocol.
    pub fn run(mut self, session: &Arc<Session>, thread: &mut ServeThread) -> Result<()> {
        loop {
            let mut events = std::mem::take(&mut self.events);
            // One alone has nothing to be merged with.
            let merges = session.config().s5 && events.len() > 1;
            for event in events.drain(..) {
                self.handle(event, merges, session, thread)?;
            }
            self.serve_together(session, thread)?;
            self.events = events;
            if self.ended && self.memory.lent() == 0 {
                return Ok(());
            }
            self.nudge(session)?;
            self.ring
                .submit_and_wait()
                .or_else(retry_later)
                .map_err(enter_failed)?;
            self.committed = false;
            // The stop makes the wait fail with EINTR, unless there was nothing to wait for.
            if session.stopping() {
                return Ok(());
            }
            self.pace.adjust();
            self.ring.take_events(&mut self.events);
        }
    }

    fn handle(
        &mut self,
        event: Event,
        merges: bool,
        session: &Arc<Session>,
        thread: &mut ServeThread,
    ) -> Result<()> {
        match event {
            Event::Arrived(arrived) => self.arrived(arrived, merges, session, thread),
            Event::Lost(lost) => self.lost(&lost, session),
            Event::Woken { last } => {
                for finished in self.mailbox.take() {
                    self.finished(finished)?;
                }
                if last {
                    self.ring.listen().map_err(enter_failed)?;
                }
                Ok(())
            }
        }
    }

    fn arrived(
        &mut self,
        arrived: Arrived,
        merges: bool,
        session: &Arc<Session>,
        thread: &mut ServeThread,
    ) -> Result<()> {
        let (mut owed, request) = self
            .memory
            .receive(arrived)
            .map_err(|corrupt| Error::Protocol(corrupt.to_string()))?;
        let ruled = self.ring.ruling(owed.entry());
        let payload = self.memory.payload(&mut owed);
        let (header, fixed) = (&request.header, request.fixed());
        let course = session.course(ruled, header, fixed, &payload[..request.payload_len]);
        let may_block = session.may_block(header, fixed);
        if merges
            && course == Course::Serve
            && !may_block
            && let Some(piece) = Piece::of(&request)
        {
            self.together.0.push(Some((owed, request)));
            self.together.1.push(piece);
            return Ok(());
        }
        // What came before it is done before it.
        self.serve_together(session, thread)?;
        match course {
            Course::Refuse(errno) => self.commit(owed, Reply::Error(errno)),
            _ if may_block => self.detach(owed, &request, None, session),
            Course::Lane(priority) => self.detach(owed, &request, Some(priority), session),
            Course::Serve => self.serve(owed, &request, session, thread),
        }
    }

    fn serve(
        &mut self,
        mut owed: Owed,
        request: &Request,
        session: &Arc<Session>,
        thread: &mut ServeThread,
    ) -> Result<()> {
        self.hand_over()?;
        let payload = self.memory.payload(&mut owed);
        let mut exchange = EntryExchange::new(request, payload);
        let watch = session.watch(&request.header);
        let answer = session.serve(thread, &mut exchange);
        let reply = fulfil(answer, &mut exchange);
        session.watched(watch);
        self.commit(owed, reply)
    }

    /// Serves those that may be merged and have not been served, as [`plan`] has it.
    fn serve_together(&mut self, session: &Arc<Session>, thread: &mut ServeThread) -> Result<()> {
        if self.together.1.is_empty() {
            return Ok(());
        }
        let groups = plan(&self.together.1);
        self.together.1.clear();
        let (mut waiting, _) = std::mem::take(&mut self.together);
        for group in groups {
            let members = group.members.iter();
            // Each is a member of one group.
            let members = members.filter_map(|&place| waiting.get_mut(place)?.take());
            let (mut owed, mut requests): (Vec<Owed>, Vec<Request>) = members.unzip();
            if owed.len() == 1
                && let (Some(owed), Some(request)) = (owed.pop(), requests.pop())
            {
                self.serve(owed, &request, session, thread)?;
                continue;
            }
            self.hand_over()?;
            let Some(header) = requests.first().map(|request| request.header) else {
                continue;
            };
            let watch = session.watch(&header);
            let payloads = self.memory.payloads(&mut owed);
            let replies = joint::execute(session, thread, &requests, payloads);
            session.watched(watch);
            session.counters().merged(requests.len());
            self.ring.count_merge(header.opcode, requests.len());
            for (owed, reply) in owed.into_iter().zip(replies) {
                self.commit(owed, reply)?;
            }
        }
        waiting.clear();
        self.together.0 = waiting;
        Ok(())
    }

    /// Tells the kernel of what has been committed: nobody waits for the next request's lower operation
    /// but its own application.
    fn hand_over(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.committed) {
            return Ok(());
        }
        self.ring
            .submit()
            .or_else(retry_later)
            .map_err(enter_failed)
    }

    fn commit(&mut self, owed: Owed, reply: Reply) -> Result<()> {
        let commit = self.memory.answer(owed, reply);
        self.committed = true;
        self.ring.commit(commit).map_err(enter_failed)
    }

    /// Hands a request to the blocking pool, or by its priority to the lane for bulk. Its entry stays
    /// taken: the kernel has no way to give it back but by the answer.
    fn detach(
        &mut self,
        mut owed: Owed,
        request: &Request,
        lane: Option<Priority>,
        session: &Arc<Session>,
    ) -> Result<()> {
        let out_len = self.memory.payload_len();
        let payload = &self.memory.payload(&mut owed)[..request.payload_len];
        let owned = OwnedExchange::copy(&request.header, request.fixed(), payload, out_len);
        let (entry, commit_id) = (owed.entry(), owed.commit_id());
        self.blocked.insert(entry, owed);
        self.spare.detached = Some(request.header.nodeid);
        let mailbox = Arc::clone(&self.mailbox);
        self.pace.be_ordinary();
        let complete = move |exchange, reply| {
            mailbox.post(Finished {
                entry,
                commit_id,
                exchange,
                reply,
            });
        };
        match lane {
            None => session.serve_blocking(owned, complete),
            Some(priority) => session.serve_on_lane(owned, priority, complete),
        }
        self.keep_spare()
    }

    fn finished(&mut self, finished: Finished) -> Result<()> {
        let Some(mut owed) = self.blocked.remove(&finished.entry) else {
            return Err(Error::Protocol(format!(
                "{:?} was answered twice",
                finished.entry
            )));
        };
        debug_assert_eq!(owed.commit_id(), finished.commit_id);
        let body = finished.exchange.body(finished.reply.body_len());
        self.memory.payload(&mut owed)[..body.len()].copy_from_slice(body);
        self.commit(owed, finished.reply)
    }

    /// Registers more entries when few are left to requests that do not wait for a lock: an
    /// unlock, that the locks wait for, must find one (docs/decisions/0004-ring-entries-and-locks.md).
    fn keep_spare(&mut self) -> Result<()> {
        let usable = self.memory.len() - self.blocked.len();
        if usable >= self.spare.min || self.ended {
            return Ok(());
        }
        let fresh = match self.memory.grow() {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(queue = self.queue.0, %error, "no more entries for waiting locks");
                return Ok(());
            }
        };
        tracing::debug!(
            queue = self.queue.0,
            entries = self.memory.len(),
            "locks wait: more entries"
        );
        for entry in fresh {
            self.memory
                .lend(EntryIndex(entry), &mut self.ring)
                .map_err(enter_failed)?;
        }
        self.spare.grown = true;
        Ok(())
    }

    /// Once more entries have been registered, a request may be lined up that no commit will take,
    /// if the last of a batch went to the blocking pool.
    fn nudge(&mut self, session: &Session) -> Result<()> {
        let detached = self.spare.detached.take();
        let Some(nodeid) = detached.filter(|_| self.spare.grown && !self.ended) else {
            return Ok(());
        };
        // The entry that the nudge is to take.
        self.ring
            .submit()
            .or_else(retry_later)
            .map_err(enter_failed)?;
        self.spare.nudges.send(session, nodeid);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost, session: &Session) -> Result<()> {
        self.memory.lost(lost);
        if self.ended {
            return Ok(());
        }
        // The kernel says the same of the entries of a ring that is closed (`fuse_uring_cancel`): then
        // nobody but us will end the connection.
        if lost.connection_ended() && session.device().has_ended().map_err(enter_failed)? {
            self.ended = true;
            return Ok(());
        }
        Err(Error::Protocol(format!(
            "queue {}: the kernel refused a command of entry {}: {}",
            self.queue.0,
            lost.entry().0,
            io::Error::from_raw_os_error(lost.errno()),
        )))
    }
}

/// What passes by itself: a signal, and completions that have to be taken first.
fn retry_later(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
        _ => Err(error),
    }
}

fn enter_failed(source: io::Error) -> Error {
    Error::system("an io_uring failed", source)
}
