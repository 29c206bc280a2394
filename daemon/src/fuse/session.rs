//! One mount being served: from INIT to the end of the connection.

use super::{
    Agreed, Answer, Body, Device, Errno, Exchange, FileSystem, Negotiated, OwnedExchange, Reply,
    ServeThread,
    blocking::{self, BlockingPool},
    counters::Counters,
    fulfil::fulfil,
    interrupt::{Interrupts, RegisteredServer},
    kick::KickHandle,
    lanes::Lanes,
    slow::{self, SlowKinds, Watch},
    while_served::WhileServed,
};
use crate::{
    answers::AnswerMemory,
    bpf::changes::Changes,
    config::{Config, TransportKind},
    error::Result,
    rules::serving::Rules,
};
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use transport::wire::{BatchForgetIn, ForgetIn, ForgetOne, InHeader, InterruptIn, Opcode};

/// A mount that is being served. Transports bring it requests; it knows which are its own and
/// which the file system's.
pub struct Session {
    device: Device,
    /// Of the other threads, if they outlive this process.
    channels: Vec<Device>,
    pub(super) fs: Arc<dyn FileSystem>,
    config: Arc<Config>,
    kind: TransportKind,
    /// What serves in place of `kind`.
    stand_in: OnceLock<TransportKind>,
    negotiated: Negotiated,
    pub(super) interrupts: Interrupts,
    pub(super) lanes: Lanes,
    pub(super) rules: OnceLock<Arc<Rules>>,
    blocking: BlockingPool,
    slow: SlowKinds,
    counters: Counters,
    stopping: AtomicBool,
    destroyed: AtomicBool,
    while_served: WhileServed,
}

impl Session {
    /// Answers INIT on a `device` that has just been mounted, and tells the file system what was
    /// agreed on.
    ///
    /// # Errors
    ///
    /// As [`Agreed::on`].
    pub fn handshake(
        device: Device,
        fs: Arc<dyn FileSystem>,
        config: Arc<Config>,
        kind: TransportKind,
    ) -> Result<Arc<Self>> {
        let agreed = Agreed::on(device, &config, kind)?;
        Ok(Self::go_on(agreed, Vec::new(), fs, config))
    }

    /// A session on which INIT has been answered. Besides its own it has `channels`, which stay when
    /// this process dies.
    pub fn go_on(
        agreed: Agreed,
        channels: Vec<Device>,
        fs: Arc<dyn FileSystem>,
        config: Arc<Config>,
    ) -> Arc<Self> {
        let Agreed {
            device,
            kind,
            negotiated,
            ..
        } = agreed;
        fs.init(&negotiated);
        let slow_after = config.slow_after;
        Arc::new(Self {
            device,
            channels,
            fs,
            config,
            kind,
            stand_in: OnceLock::new(),
            negotiated,
            interrupts: Interrupts::default(),
            lanes: Lanes::default(),
            rules: OnceLock::new(),
            blocking: BlockingPool::default(),
            slow: SlowKinds::new(slow_after),
            counters: Counters::default(),
            stopping: AtomicBool::new(false),
            destroyed: AtomicBool::new(false),
            while_served: WhileServed::default(),
        })
    }

    /// The channel of serving thread `index`; the first serves the one that was mounted.
    ///
    /// # Errors
    ///
    /// As [`Device::clone_channel`].
    pub fn channel(&self, index: usize) -> Result<Device> {
        match index.checked_sub(1) {
            None => Ok(self.device.clone()),
            Some(other) => match self.channels.get(other) {
                Some(channel) => Ok(channel.clone()),
                None => self.device.clone_channel(),
            },
        }
    }

    /// A serving thread cannot go on. If another daemon can, this one ends before it has closed
    /// anything; else the mount ends.
    pub fn fail(&self) {
        if self.channels.is_empty() {
            self.stop();
        } else {
            std::process::exit(1);
        }
    }

    /// What is given up when the first thread has served its last request, before anything is cleared away.
    pub fn while_served(&self) -> &WhileServed {
        &self.while_served
    }

    /// The channel that was mounted.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The mount's configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How requests travel.
    pub fn kind(&self) -> TransportKind {
        self.stand_in.get().copied().unwrap_or(self.kind)
    }

    /// Says that the rings of `uring` serve in place of those of `shm`, which could not be started. To the
    /// kernel they are the same.
    pub fn do_without_shared_memory(&self) {
        debug_assert_eq!(self.kind, TransportKind::Shm);
        // Once is enough.
        let _ = self.stand_in.set(TransportKind::Uring);
    }

    /// What was agreed on at INIT.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// To be called once, before requests are served; see [`FileSystem::mounted`].
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn mounted(&self, changes: Option<Changes>) -> Result<()> {
        Arc::clone(&self.fs).mounted(&self.device, changes)
    }

    /// What the file system holds at the moment.
    pub fn holdings(&self) -> String {
        self.fs.holdings()
    }

    /// The device of the lower file system, if the kernel programs notice every change there.
    pub fn noticed_device(&self) -> Option<(u32, u32)> {
        self.fs.noticed_device()
    }

    /// Kernel programs answer what the file system puts there, which see for the condition.
    pub fn use_answers(&self, memory: Box<dyn AnswerMemory>) {
        Arc::clone(&self.fs).use_answers(memory);
    }

    /// Attributes are shown as the rule book says now. Not to be called by a thread that serves.
    ///
    /// # Errors
    ///
    /// As [`Book::transforms`].
    pub fn show_by_book(&self) -> Result<()> {
        let Some(rules) = self.rules.get() else {
            return Ok(());
        };
        let book = rules.book();
        while book.get().shown.generation() != book.get().generation() {
            let (generation, rules) = book.transforms()?;
            self.fs.show_by(&rules);
            book.get().shown.set(generation);
        }
        Ok(())
    }

    /// What happened so far that is not seen in replies.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether this request is to be served by [`serve_blocking`](Self::serve_blocking): it may wait
    /// for another application, or for another request, or those of its kind have taken long. Half of
    /// the threads are for the first.
    pub fn may_block(&self, header: &InHeader, fixed: &[u8]) -> bool {
        if is_of_session(header.opcode) {
            return false;
        }
        let waits = || self.slow.is_slow(header) || self.fs.may_wait(header, fixed);
        self.fs.may_block(header, fixed)
            || waits() && self.blocking.threads() < blocking::THREADS_MAX / 2
    }

    /// To be called before a request is served on the thread of its queue.
    pub fn watch(&self, header: &InHeader) -> Option<Watch> {
        self.slow.begin(header)
    }

    /// The request has been served, its reply is complete.
    pub fn watched(&self, watch: Option<Watch>) {
        self.slow.end(watch);
    }

    /// Answers one request on the calling thread. A panic of the file system becomes `EIO`.
    pub fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let serve = AssertUnwindSafe(|| match is_of_session(exchange.header().opcode) {
            true => self.serve_own(exchange),
            false => self.fs.serve(thread, exchange),
        });
        catch_unwind(serve).unwrap_or_else(|panic| {
            let InHeader { opcode, unique, .. } = *exchange.header();
            let message = panic_message(&*panic);
            self.counters.panics.count();
            tracing::error!(%opcode, unique, message, "panic while serving a request; it gets EIO");
            Err(Errno::IO)
        })
    }

    /// Answers one request on a thread that nothing else waits for, interruptibly, and gives
    /// `complete` what to send; for requests of which [`may_block`](Self::may_block) says so.
    pub fn serve_blocking<C>(self: &Arc<Self>, mut exchange: OwnedExchange, complete: C)
    where
        C: FnOnce(OwnedExchange, Reply) + Send + 'static,
    {
        let session = Arc::clone(self);
        self.counters.served_beside.count();
        self.blocking.submit(Box::new(move |thread| {
            let header = *exchange.header();
            let start = Instant::now();
            let answer = thread.and_then(|thread| {
                let kick = KickHandle::of_this_thread()?;
                let waits_for_good = session.kind.is_ring() && header.opcode == Opcode::SETLKW;
                let caller = waits_for_good.then_some(header.pid);
                let flag = thread.interrupt_flag();
                let _registered = session
                    .interrupts
                    .register(header.unique, kick, flag, caller);
                Ok(session.serve(thread, &mut exchange))
            });
            let answer = answer.unwrap_or_else(|error| {
                let opcode = exchange.header().opcode;
                session.counters.blocking_refused.count();
                tracing::warn!(%opcode, %error, "a request that may block is refused");
                Err(slow::refusal_of(opcode))
            });
            let reply = fulfil(answer, &mut exchange);
            session.slow.end_beside(&header, start.elapsed());
            complete(exchange, reply);
        }));
    }

    /// The requests that are not the file system's.
    fn serve_own(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        match exchange.header().opcode {
            Opcode::FORGET => {
                let ForgetIn { nlookup } = exchange.arg()?;
                self.fs.forget(exchange.header().nodeid, nlookup);
                Ok(Body::NoReply)
            }
            Opcode::BATCH_FORGET => {
                let BatchForgetIn { count, .. } = exchange.arg()?;
                let entries = exchange.payload().chunks_exact(size_of::<ForgetOne>());
                for entry in entries.take(count as usize) {
                    let ForgetOne { nodeid, nlookup } = bytemuck::pod_read_unaligned(entry);
                    self.fs.forget(nodeid, nlookup);
                }
                Ok(Body::NoReply)
            }
            Opcode::INTERRUPT => {
                let InterruptIn { unique } = exchange.arg()?;
                self.counters.interrupts.count();
                self.interrupts.interrupt(unique);
                self.lanes.withdraw(unique);
                Ok(Body::NoReply)
            }
            Opcode::DESTROY => {
                self.destroy();
                Ok(Body::Empty)
            }
            Opcode::NOTIFY_REPLY => Ok(Body::NoReply),
            _ => Err(Errno::IO),
        }
    }

    /// The calling thread serves until the mount ends or [`stop`](Self::stop) is called, which
    /// makes its system calls fail with `EINTR` until the registration is dropped.
    ///
    /// # Errors
    ///
    /// What [`KickHandle::of_this_thread`] says.
    pub fn register_server(&self) -> Result<RegisteredServer> {
        Ok(self
            .interrupts
            .register_server(KickHandle::of_this_thread()?))
    }

    /// Makes every serving thread end, though the file system may still be mounted; returns at
    /// once. Applications wait for an answer until the last descriptor of the device is closed:
    /// then the kernel aborts the connection. So this is for a daemon that exits.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.interrupts.stop();
    }

    /// Whether [`stop`](Self::stop) was called: a serving thread whose system call failed with
    /// `EINTR` then ends.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// After the last serving thread has ended: interrupts and awaits the requests that block,
    /// and ends the file system.
    pub fn finish(&self) {
        self.stopping.store(true, Ordering::Release);
        self.interrupts.interrupt_all();
        self.blocking.close();
        self.lanes.close();
        self.destroy();
    }

    fn destroy(&self) {
        if !self.destroyed.swap(true, Ordering::AcqRel) {
            tracing::debug!(counters = ?self.counters, "the connection has ended");
            self.fs.destroy();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("device", &self.device)
            .field("kind", &self.kind())
            .field("negotiated", &self.negotiated)
            .finish_non_exhaustive()
    }
}

/// The requests that the session answers itself.
pub(super) fn is_of_session(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::INIT
            | Opcode::DESTROY
            | Opcode::FORGET
            | Opcode::BATCH_FORGET
            | Opcode::INTERRUPT
            | Opcode::NOTIFY_REPLY
    )
}

/// What a panic says.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
