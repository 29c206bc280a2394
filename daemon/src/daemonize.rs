//! Becoming a daemon: the command returns when the mount answers, with the status that says so. In
//! the foreground, who supervises the process is told.
//!
//! The process forks while it has one thread and neither an io_uring nor a BPF program: none of
//! these passes a fork whole. The child serves. The parent waits for one message on a pipe, sees
//! for itself that the mount answers, and ends.

#![expect(unsafe_code, reason = "fork(2)")]

use crate::{
    error::{Error, Result},
    mount::{self, How},
    probe,
};
use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};
use rustix::process::Signal;
use std::{
    fs::OpenOptions,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

/// How long a daemon whose mount does not answer may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// The daemon's end of the pipe to the command that started it.
#[derive(Debug)]
#[must_use = "the command waits for it"]
pub struct Report {
    pipe: PipeWriter,
}

/// What the daemon says when it serves. Anything else is an error message.
const READY: &[u8] = b"\0ready";

impl Report {
    /// Says that the mount is there and served, and lets go of the terminal.
    ///
    /// # Errors
    ///
    /// The command that started the daemon has gone: it was interrupted, and nobody wants the
    /// mount any more.
    pub fn ready(mut self) -> Result<()> {
        self.pipe
            .write_all(READY)
            .map_err(|error| Error::system("the command that mounts has gone", error))?;
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(|error| Error::path("cannot open", "/dev/null", error))?;
        rustix::stdio::dup2_stdin(&null)
            .and_then(|()| rustix::stdio::dup2_stdout(&null))
            .and_then(|()| rustix::stdio::dup2_stderr(&null))
            .map_err(|errno| Error::system("cannot let go of the terminal", errno))
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Tells who supervises this process that the mount answers, if there is somebody who asked to be
/// told (sd_notify(3): a datagram to the socket that `NOTIFY_SOCKET` names; an abstract one begins
/// with '@').
pub fn tell_supervisor() {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let told = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        // One that does not listen must not hang a file system.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(b"READY=1\nSTATUS=serving\n", &address)
    });
    if let Err(error) = told {
        tracing::warn!(
            "cannot tell {} that the mount answers: {error}",
            name.display()
        );
    }
}

/// Runs `serve` in a daemon of its own. Returns in the command when the mount answers; in the
/// daemon it does not return.
///
/// # Errors
///
/// What `serve` says before it is ready, or that the mount does not answer.
pub fn run(mountpoint: &Path, serve: impl FnOnce(Report) -> Result<()>) -> Result<()> {
    let (reader, writer) =
        io::pipe().map_err(|error| Error::system("cannot make a pipe", error))?;
    // SAFETY: the process has one thread (nothing before this starts one), so that the child may
    // do whatever it could have done without the fork.
    match unsafe { fork() }.map_err(|errno| Error::system("cannot fork", errno))? {
        ForkResult::Parent { child } => {
            drop(writer);
            await_ready(child, reader, mountpoint)
        }
        ForkResult::Child => {
            drop(reader);
            std::process::exit(become_daemon(writer, serve));
        }
    }
}

/// The daemon's life; returns its exit status.
fn become_daemon(pipe: PipeWriter, serve: impl FnOnce(Report) -> Result<()>) -> i32 {
    // Kept for what goes wrong before the mount is ready.
    let spare = pipe.try_clone();
    let outcome = rustix::process::setsid()
        .and_then(|_| rustix::process::chdir("/"))
        .map_err(|errno| Error::system("cannot become a daemon", errno))
        .and_then(|()| serve(Report { pipe }));
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            // Once the mount is ready nobody reads this.
            let _ = spare.and_then(|mut pipe| pipe.write_all(error.to_string().as_bytes()));
            1
        }
    }
}

fn await_ready(child: Pid, mut pipe: PipeReader, mountpoint: &Path) -> Result<()> {
    let mut said = vec![0; READY.len()];
    let mut len = 0;
    while len < said.len() {
        match pipe.read(&mut said[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::system("cannot hear from the daemon", error)),
        }
    }
    said.truncate(len);
    if said == READY {
        return probe::answers(mountpoint).inspect_err(|_| put_down(child, mountpoint));
    }
    pipe.read_to_end(&mut said)
        .map_err(|error| Error::system("cannot hear from the daemon", error))?;
    let message = String::from_utf8_lossy(&said).into_owned();
    let status = waitpid(child, None);
    if message.is_empty() {
        let why = match status {
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("killed by {signal}"),
            _ => "it ended without saying why".to_owned(),
        };
        return Err(Error::refused("the daemon", why, "try --foreground"));
    }
    Err(Error::Daemon(message))
}

/// Ends a daemon whose mount does not answer: by request, by aborting the connection, by force.
fn put_down(child: Pid, mountpoint: &Path) {
    let Some(pid) = rustix::process::Pid::from_raw(child.as_raw()) else {
        return;
    };
    // Each of these fails if the daemon has ended meanwhile, which is what is wanted.
    let _ = rustix::process::kill_process(pid, Signal::TERM);
    let until = Instant::now() + GRACE;
    while Instant::now() < until {
        if waitpid(child, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let how = if mount::is_privileged() {
        How::Force
    } else {
        How::Lazy
    };
    let _ = mount::unmount(mountpoint, how);
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}
