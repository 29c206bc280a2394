//! The daemon as a child of the process that supervises it.

#![expect(unsafe_code, reason = "fork(2), clone(2)")]

use crate::{
    error::{Error, Result},
    mount::table::DeviceNumber,
    signals::Signals,
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, setpgid},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{PidfdFlags, pidfd_open, set_parent_process_death_signal},
};
use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::OwnedFd,
};

/// What a daemon that serves says first; then the device of its mount. Anything else is an error.
const SERVES: &[u8] = b"\0serves";
/// Length of the whole message.
const MESSAGE_LEN: usize = SERVES.len() + 8;

/// The daemon's end of the pipe to its supervisor.
#[derive(Debug)]
#[must_use = "the supervisor waits for it"]
pub struct Ready(PipeWriter);

impl Ready {
    /// Says that the mount answers.
    ///
    /// # Errors
    ///
    /// The supervisor has gone.
    pub fn tell(mut self, device: DeviceNumber) -> Result<()> {
        let mut message = SERVES.to_vec();
        message.extend(device.major.to_ne_bytes());
        message.extend(device.minor.to_ne_bytes());
        self.0
            .write_all(&message)
            .map_err(|error| Error::system("the supervisor has gone", error))
    }
}

/// How a daemon began.
#[derive(Debug)]
pub enum Start {
    /// Its mount, which answers, has this device.
    Serves(DeviceNumber),
    /// It did not come so far.
    Failed(Error),
}

/// How a daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By itself, with this status.
    Status(i32),
    /// Killed.
    Signal(Signal),
}

impl End {
    /// None if it has not ended.
    fn of(status: WaitStatus) -> Option<Self> {
        match status {
            WaitStatus::Exited(_, status) => Some(Self::Status(status)),
            WaitStatus::Signaled(_, signal, _) => Some(Self::Signal(signal)),
            _ => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(0) => f.write_str("it ended, and the mount is still there"),
            Self::Status(status) => write!(f, "it ended with status {status}"),
            Self::Signal(signal) => write!(f, "killed by {signal}"),
        }
    }
}

/// Whose descriptors a daemon has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Descriptors {
    /// Its own.
    Copied,
    /// The supervisor's: they stay when it dies.
    Shared,
}

/// fork(2), but with one table of descriptors for both processes.
fn fork_sharing_descriptors() -> nix::Result<ForkResult> {
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack given clone(2) is fork(2): the child goes on with a copy
    // of this thread's memory and stack. The process has one thread, so that no lock of the C library
    // is taken. What that library does besides in fork(3), for threads, has no object here; it keeps
    // the number of the calling thread, of which only robust and recursive mutexes of its own make use.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match nix::Error::result(pid)? {
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent {
            child: Pid::from_raw(pid as i32),
        }),
    }
}

/// A daemon, until it is reaped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    process: OwnedFd,
}

impl Child {
    /// Runs `serve` in a child, which ends when it returns, and is asked to end when this process
    /// dies. What the child says can be read from the pipe.
    ///
    /// # Errors
    ///
    /// What fork(2), clone(2), pipe(2) and pidfd_open(2) say.
    pub fn fork(
        descriptors: Descriptors,
        serve: impl FnOnce(Ready) -> Result<()>,
    ) -> Result<(Self, PipeReader)> {
        let (reader, writer) =
            io::pipe().map_err(|error| Error::system("cannot make a pipe", error))?;
        let supervisor = nix::unistd::getpid();
        let forked = match descriptors {
            // SAFETY: the process has one thread, so that the child may do whatever it could have
            // done without the fork.
            Descriptors::Copied => unsafe { fork() },
            Descriptors::Shared => fork_sharing_descriptors(),
        };
        match forked.map_err(|errno| Error::system("cannot fork", errno))? {
            ForkResult::Parent { child } => {
                if descriptors == Descriptors::Shared {
                    // It is the child's as well.
                    std::mem::forget(writer);
                }
                let pid = rustix::process::Pid::from_raw(child.as_raw());
                let process = pid
                    .ok_or(rustix::io::Errno::SRCH)
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
                    .map_err(|errno| Error::system("cannot watch the daemon", errno))?;
                let pid = child;
                Ok((Self { pid, process }, reader))
            }
            ForkResult::Child => {
                if descriptors == Descriptors::Shared {
                    std::mem::forget(reader);
                } else {
                    drop(reader);
                }
                std::process::exit(live(supervisor, writer, serve));
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it serves or has failed; `heed` is called for signals that arrive meanwhile.
    ///
    /// # Errors
    ///
    /// What poll(2) and read(2) say.
    pub fn start(
        &self,
        mut word: PipeReader,
        signals: &Signals,
        mut heed: impl FnMut(),
    ) -> Result<Start> {
        let cannot = |error| Error::system("cannot hear from the daemon", error);
        let mut said = Vec::new();
        loop {
            let mut fds = [
                PollFd::new(&word, PollFlags::IN),
                PollFd::new(signals, PollFlags::IN),
                PollFd::new(&self.process, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled.map_err(|errno| cannot(errno.into()))?,
            };
            let has_word = !fds[0].revents().is_empty();
            // Who shares descriptors does not close the pipe by dying.
            let is_dead = !fds[2].revents().is_empty();
            heed();
            if !has_word && is_dead {
                return Ok(Start::Failed(unsaid(&said)));
            }
            if !has_word {
                continue;
            }
            let mut bytes = [0; 4096];
            let len = word.read(&mut bytes).map_err(cannot)?;
            said.extend_from_slice(&bytes[..len]);
            if let Some(device) = device(&said) {
                return Ok(Start::Serves(device));
            }
            if len == 0 {
                return Ok(Start::Failed(unsaid(&said)));
            }
        }
    }

    /// How it ended, if it has: waits for that or for a signal.
    ///
    /// # Errors
    ///
    /// What poll(2) and waitpid(2) say.
    pub fn ended(&self, signals: &Signals) -> Result<Option<End>> {
        let cannot = |errno: io::Error| Error::system("cannot wait for the daemon", errno);
        let mut fds = [
            PollFd::new(&self.process, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            polled => polled.map_err(|errno| cannot(errno.into()))?,
        };
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => Ok(End::of(status)),
            Err(nix::Error::EINTR) => Ok(None),
            Err(errno) => Err(cannot(errno.into())),
        }
    }

    /// Sends a signal. One that has just ended gets none.
    pub fn signal(&self, signal: Signal) {
        // It is not reaped before this type says so: its number is nobody else's.
        let _ = kill(self.pid, signal);
    }

    /// Takes leave of one that is ending, and says how it ended.
    pub fn reap(self) -> End {
        loop {
            match waitpid(self.pid, None).map(End::of) {
                Ok(Some(end)) => return end,
                Ok(None) | Err(nix::Error::EINTR) => {}
                // It has been waited for: nobody knows with what result.
                Err(_) => return End::Status(1),
            }
        }
    }
}

/// The error that a daemon ended with, as far as it came.
fn unsaid(said: &[u8]) -> Error {
    Error::Daemon(match said.is_empty() {
        true => "the daemon ended without saying why".to_owned(),
        false => String::from_utf8_lossy(said).into_owned(),
    })
}

/// The device in a whole message.
fn device(said: &[u8]) -> Option<DeviceNumber> {
    let numbers = said.strip_prefix(SERVES)?;
    let (major, minor) = numbers.get(..MESSAGE_LEN - SERVES.len())?.split_at(4);
    Some(DeviceNumber {
        major: u32::from_ne_bytes(major.try_into().ok()?),
        minor: u32::from_ne_bytes(minor.try_into().ok()?),
    })
}

/// The child's life; returns its exit status.
fn live(supervisor: Pid, pipe: PipeWriter, serve: impl FnOnce(Ready) -> Result<()>) -> i32 {
    // Kept for what goes wrong before the mount answers.
    let spare = pipe.try_clone();
    // What a terminal sends to all of a process group is the supervisor's to pass on.
    let alone = setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(io::Error::from);
    let outcome = alone
        .and_then(|()| {
            let term = rustix::process::Signal::TERM;
            set_parent_process_death_signal(Some(term)).map_err(io::Error::from)
        })
        .map_err(|error| Error::system("cannot be supervised", error))
        .and_then(|()| match nix::unistd::getppid() == supervisor {
            true => serve(Ready(pipe)),
            false => Ok(()),
        });
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            // Once the mount answers nobody reads this; then it is in the log.
            let _ = spare.and_then(|mut pipe| pipe.write_all(error.to_string().as_bytes()));
            1
        }
    }
}
