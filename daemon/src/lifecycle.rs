//! The life of a mount: start, serve, quiesce, stop.
//!
//! | state | begins with | ends with |
//! | --- | --- | --- |
//! | start | a checked configuration | a mount that is served; or nothing at all, and an error |
//! | serve | the mount answers | the mount ended (unmounted by somebody), a serving thread failed, or a signal |
//! | quiesce | SIGINT, SIGTERM | unmounted and no request under way, or patience has run out |
//! | stop | any of these | the serving threads have ended, the device is closed |
//!
//! Only the thread that calls [`run`] goes through the states. It serves nothing, so it may wait
//! for what the serving threads do.

use crate::{
    coherence::establish::establish,
    config::{CachePolicy, Config, TransportKind},
    daemonize::Report,
    delay::Delayed,
    error::{Error, Result},
    fuse::{Backing, BackingId, Device, FileSystem, Session},
    metrics,
    mount::{self, How, Mounted, presence, undertaker::Undertaker},
    passthrough::{Passthrough, lower::Lower},
    privilege,
    probe::{self, Answer, Inquiry},
    select, serve,
    signals::Signals,
    supervise::{child::Ready, kept::Kept},
};
use nix::sys::signal::Signal;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    io::{self, PipeReader},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use transport::wire::InitFlags;

/// How long requests under way, and users of a mount that was in use, may take after a signal.
const QUIESCE: Duration = Duration::from_secs(5);
/// How long the serving threads may take to end after that.
const STOP: Duration = Duration::from_secs(2);

/// Who is told that the mount answers.
#[derive(Debug)]
pub enum Announce {
    /// The log; in the foreground.
    Log,
    /// The command that started the daemon; it finds out by itself.
    Parent(Report),
    /// The process that replaces this one if it dies.
    Supervisor(Ready),
}

/// Mounts, serves until the mount ends, and returns when all is cleared away.
///
/// # Errors
///
/// Why there is no mount, or why it ended otherwise than by unmounting or a signal.
pub fn run(mut config: Config, announce: Announce) -> Result<()> {
    let kind = select::transport(config.transport)?;
    let coherence = establish(&mut config, kind);
    run_by(kind, config, announce, |config, backing| {
        let fs = Arc::new(Passthrough::new(config, backing)?.with_coherence(coherence));
        Ok(Delayed::as_asked(fs, config))
    })
}

/// The same with another file system. It is made before the mount: what it opens is not covered
/// yet.
///
/// # Errors
///
/// As [`run`], and what making the file system says.
pub fn run_with(
    config: Config,
    announce: Announce,
    make: impl FnOnce(&Config, Arc<dyn Backing>) -> Result<Arc<dyn FileSystem>>,
) -> Result<()> {
    run_by(select::transport(config.transport)?, config, announce, make)
}

fn run_by(
    kind: TransportKind,
    config: Config,
    announce: Announce,
    make: impl FnOnce(&Config, Arc<dyn Backing>) -> Result<Arc<dyn FileSystem>>,
) -> Result<()> {
    let daemon = !matches!(announce, Announce::Log);
    crate::log::panics();
    let signals = Signals::collect()?;
    let serving = Serving::start(kind, Arc::new(config), signals, daemon, make)?;
    serving.go(announce)
}

/// The same on a mount that its supervisor has made, and that a daemon before this one may have served.
///
/// # Errors
///
/// As [`run`].
pub fn go_on(config: Config, announce: Announce, kept: &Kept) -> Result<()> {
    crate::log::panics();
    let signals = Signals::collect()?;
    Serving::go_on(Arc::new(config), signals, kept)?.go(announce)
}

impl Serving {
    /// Says that the mount answers, and serves until it ends.
    fn go(self, announce: Announce) -> Result<()> {
        match announce {
            Announce::Parent(report) => report.ready()?,
            Announce::Log | Announce::Supervisor(_) => {
                if let Some(program) = &self.session.config().program {
                    let asked = Inquiry::start(program, &self.session.config().mountpoint)?;
                    match self.next(Some(probe::PATIENCE), Some(asked.as_fd())) {
                        Some(Event::Ended) => return self.ended(),
                        Some(Event::Signal(signal)) => return self.quiesce(signal),
                        Some(Event::Ready) | None => {}
                    }
                    match asked.outcome() {
                        Ok(Answer::Ours) => {}
                        // Unmounted already; whoever still has it, in another namespace say, is served.
                        Ok(Answer::Another) => tracing::info!("the mount has ended here"),
                        // An unmount may have come first; then there was nothing left to answer.
                        Err(error) => {
                            return match self.next(Some(STOP), None) {
                                Some(Event::Ended) => self.ended(),
                                _ => Err(error),
                            };
                        }
                    }
                }
                match announce {
                    Announce::Supervisor(ready) => ready.tell(self.mounted.device())?,
                    _ => crate::daemonize::tell_supervisor(),
                }
            }
        }
        self.log();
        loop {
            match self.next(None, None) {
                Some(Event::Ended) => return self.ended(),
                Some(Event::Signal(signal)) => return self.quiesce(signal),
                Some(Event::Ready) | None => {}
            }
        }
    }
}

/// A mount that is served.
#[derive(Debug)]
struct Serving {
    mounted: Mounted,
    session: Arc<Session>,
    signals: Signals,
    /// Not in the foreground.
    daemon: bool,
    waiter: JoinHandle<Result<()>>,
    /// Hangs up when `waiter` ends.
    ended: PipeReader,
    /// None if caches are not revoked.
    undertaker: Option<Undertaker>,
}

/// What ends a state.
#[derive(Debug)]
enum Event {
    /// No thread serves any more.
    Ended,
    /// Somebody wants the mount to end.
    Signal(Signal),
    /// What was waited for beside these.
    Ready,
}

impl Serving {
    /// Everything up to the first request. The lower directory is opened first, while nothing of
    /// ours covers it. Whatever fails, what was made before is cleared away.
    fn start(
        kind: TransportKind,
        config: Arc<Config>,
        signals: Signals,
        daemon: bool,
        make: impl FnOnce(&Config, Arc<dyn Backing>) -> Result<Arc<dyn FileSystem>>,
    ) -> Result<Self> {
        raise_limits();
        let backing = Arc::new(MountedDevice::default());
        let fs = make(&config, Arc::clone(&backing) as _)?;
        let (mounted, device) = if mount::is_privileged() {
            let device = Device::open()?;
            (mount::mount(&config, &device)?, device)
        } else {
            let (mounted, device) = mount::mount_by_helper(&config)?;
            (mounted, Device::from_fd(device))
        };
        let undertaker = undertaker(&config, &mounted);
        backing.0.get_or_init(|| device.clone());
        let session = Session::handshake(device, fs, config, kind)?;
        Self::serve(mounted, session, signals, daemon, undertaker)
    }

    /// Goes on where the daemon before this one died, if there was one.
    fn go_on(config: Arc<Config>, signals: Signals, kept: &Kept) -> Result<Self> {
        raise_limits();
        let device = kept.agreed.device.clone();
        let backing = Arc::new(MountedDevice::default());
        backing.0.get_or_init(|| device.clone());
        let lower = Lower::private(kept.lower()?);
        let fs = Passthrough::kept(&config, backing, lower, &kept.ledger)?;
        let fs = Delayed::as_asked(Arc::new(fs), &config);
        let mounted = Mounted::taken_over(&config.mountpoint, kept.mount);
        let session = Session::go_on(kept.agreed.clone(), kept.channels.clone(), fs, config);
        // Before anything is read: what this daemon has read would be sent again as well.
        if let Err(errno) = device.notify_resend() {
            mounted.forget();
            return Err(Error::system("requests are not sent again", errno));
        }
        Self::serve(mounted, session, signals, true, None)
    }

    /// Starts what serves a mount that is made.
    fn serve(
        mounted: Mounted,
        session: Arc<Session>,
        signals: Signals,
        daemon: bool,
        undertaker: Option<Undertaker>,
    ) -> Result<Self> {
        let server = serve::start(Arc::clone(&session))?;
        if let Some(address) = session.config().metrics {
            metrics::start(&session, address)?;
        }
        privilege::settle_main()?;
        let (ended, writer) =
            io::pipe().map_err(|error| Error::system("cannot make a pipe", error))?;
        let waiter = thread::Builder::new()
            .name("waiter".into())
            .spawn(move || {
                let _hangs_up = writer;
                server.wait()
            })
            .map_err(|error| Error::system("cannot start a thread", error))?;
        match presence::announce(mounted.device()) {
            Ok(presence) => session.while_served().hold(presence),
            Err(error) => tracing::warn!("shmfuse umount will not wait: {error}"),
        }
        Ok(Self {
            mounted,
            session,
            signals,
            daemon,
            waiter,
            ended,
            undertaker,
        })
    }

    fn log(&self) {
        let config = self.session.config();
        let passthrough = self
            .session
            .negotiated()
            .flags
            .contains(InitFlags::PASSTHROUGH);
        tracing::info!(
            "{} mounted on {}: transport {}, data {}, cache {}",
            config.lower.display(),
            config.mountpoint.display(),
            self.session.kind().name(),
            if passthrough { "passthrough" } else { "copy" },
            config.cache,
        );
    }

    /// `shmfuse rules` has changed them.
    fn follow_rules(&self) {
        if let Err(error) = self.session.show_by_book() {
            tracing::error!("attributes are shown as before: {error}");
        }
    }

    fn log_state(&self) {
        let counters = self.session.counters();
        tracing::info!(?counters, "holding {}", self.session.holdings());
    }

    /// The next event; none if `time` passes before there is one. `also` is a descriptor that may
    /// become ready meanwhile. SIGUSR1 is no event: it has what the file system holds logged.
    fn next(&self, time: Option<Duration>, also: Option<BorrowedFd<'_>>) -> Option<Event> {
        let until = time.map(|time| Instant::now() + time);
        loop {
            match self.signals.next() {
                Some(Signal::SIGUSR1) => self.log_state(),
                Some(Signal::SIGUSR2) => self.follow_rules(),
                // A daemon has no terminal that could hang up.
                Some(Signal::SIGHUP) if self.daemon => {}
                Some(signal) => return Some(Event::Signal(signal)),
                None => {}
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut fds = vec![
                PollFd::new(&self.ended, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            fds.extend(also.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return None,
                Ok(_) if ready(&fds[0]) => return Some(Event::Ended),
                Ok(_) if fds.get(2).is_some_and(ready) => return Some(Event::Ready),
                // A signal, which the next round takes; or EINTR.
                _ => {}
            }
        }
    }

    /// No thread serves any more, without our doing.
    fn ended(self) -> Result<()> {
        let Self {
            mounted,
            waiter,
            undertaker,
            ..
        } = self;
        let outcome = waiter.join().unwrap_or_else(|_| Err(panicked()));
        match &outcome {
            Ok(()) => {
                tracing::info!("unmounted");
                // It is not ours any more: its place, and even its device number, may be another
                // mount's by now.
                mounted.forget();
                if let Some(undertaker) = undertaker {
                    undertaker.dismiss();
                }
            }
            // The mount is still there, and nobody serves it: dropping it ends it.
            Err(error) => tracing::error!("the mount ends: {error}"),
        }
        outcome
    }

    /// Unmounts; if the mount is in use, out of sight at least, and its users get some time.
    fn quiesce(mut self, signal: Signal) -> Result<()> {
        tracing::info!("{signal}: unmounting");
        if let Err(error) = self.mounted.unmount(How::Clean) {
            let patience = QUIESCE.as_secs();
            tracing::warn!("{error}; detached, users have {patience} s to finish");
            self.mounted.unmount(How::Lazy)?;
        }
        match self.next(Some(QUIESCE), None) {
            Some(Event::Ended) => self.ended(),
            Some(Event::Signal(signal)) => {
                tracing::warn!("{signal} again: ending at once");
                self.stop()
            }
            Some(Event::Ready) | None => {
                tracing::warn!("still in use: ending all the same");
                self.stop()
            }
        }
    }

    /// Ends the serving threads under those who still use the mount.
    fn stop(self) -> Result<()> {
        self.session.stop();
        match self.next(Some(STOP), None) {
            Some(Event::Ended) => self.ended(),
            // A thread hangs in the lower file system. The end of this process closes the device.
            _ => {
                self.mounted.forget();
                let why = "a request does not return from the lower file system";
                Err(Error::refused("not ended cleanly", why, ""))
            }
        }
    }
}

fn panicked() -> Error {
    Error::refused("a serving thread", "it panicked", "the log says where")
}

/// The undertaker of a mount whose caches are revoked, started before they are.
fn undertaker(config: &Config, mounted: &Mounted) -> Option<Undertaker> {
    let program = config.program.as_ref()?;
    if config.cache != CachePolicy::Coherent {
        return None;
    }
    Undertaker::start(program, mounted.device())
        .inspect_err(|error| {
            tracing::warn!("users of this mount may hang if its daemon is killed: {error}");
        })
        .ok()
}

/// Every inode may cost a descriptor, and a file may be as large as whoever writes it may make it,
/// which the kernel checks: the soft limits become the hard ones (getrlimit(2)).
pub(crate) fn raise_limits() {
    for (resource, name) in [
        (Resource::Nofile, "open files"),
        (Resource::Fsize, "file sizes"),
    ] {
        let limit = getrlimit(resource);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(errno) = setrlimit(resource, raised) {
            tracing::warn!("cannot raise the limit of {name}: {errno}");
        }
    }
}

/// The device of a mount that is made after the file system which it backs.
#[derive(Debug, Default)]
struct MountedDevice(OnceLock<Device>);

impl MountedDevice {
    fn device(&self) -> io::Result<&Device> {
        self.0
            .get()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Backing for MountedDevice {
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<BackingId> {
        Backing::open(self.device()?, file)
    }

    fn close(&self, id: BackingId) -> io::Result<()> {
        Backing::close(self.device()?, id)
    }
}
