//! A process beside the daemon that ends the mount, should the daemon die while it revokes.
//!
//! A notification waits for locks that requests hold which the daemon is to answer, in a sleep that no
//! signal ends (`fuse_reverse_inval_entry`, fs/fuse/dir.c). A daemon that is killed meanwhile does not
//! go: its thread that revokes waits for the request, and keeps `/dev/fuse` open, so that the kernel does not
//! end the request either. Somebody else has to abort the connection.
//!
//! That is all the undertaker does, and all it can do: it has the `abort` file of this connection
//! (fusectl), no capabilities, and sleeps. It is this program, started anew, so that it shares no memory and no
//! descriptor with the daemon.
//!
//! # How it knows
//!
//! A descriptor that hangs up, and a pidfd, tell when the last thread of the daemon has gone: that is what
//! does not happen. The signal at the parent's death (prctl(2), `PR_SET_PDEATHSIG`) comes when the *thread*
//! ends that started the undertaker (`forget_original_parent`, kernel/exit.c): the daemon's first,
//! which waits for no notification.

use super::{presence::is_ready, table::DeviceNumber};
use crate::{
    error::{Error, Result},
    privilege,
};
use nix::sys::signal::{SigSet, Signal};
use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
    process::{PidfdFlags, getppid, pidfd_open, set_parent_process_death_signal},
};
use std::{
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The subcommand that is the undertaker; nobody is told of it.
pub const SUBCOMMAND: &str = "undertaker";

/// How long a daemon that has been killed may take to go by itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process, as its daemon has it. Dropped, it goes on: it ends when the daemon does.
#[derive(Debug)]
pub struct Undertaker {
    process: Child,
}

impl Undertaker {
    /// Starts `program` as the undertaker of the calling thread, which must live as long as the daemon
    /// does, and waits until it watches. `device` is the mount's.
    ///
    /// # Errors
    ///
    /// No fusectl, no privilege to mount it, or a program that does not start.
    pub fn start(program: &Path, device: DeviceNumber) -> Result<Self> {
        let abort = abort_file(device)?;
        let (mut said, saying) =
            io::pipe().map_err(|error| Error::system("cannot make a pipe", error))?;
        let process = Command::new(program)
            .arg0("shmfuse")
            .arg(SUBCOMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(abort)
            .stdout(saying)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::path("cannot start", program, error))?;
        said.read_exact(&mut [0])
            .map_err(|error| Error::path("no undertaker is", program, error))?;
        Ok(Self { process })
    }

    /// Ends it: the connection has ended, and there is nothing left to abort.
    pub fn dismiss(mut self) {
        // Fails only if it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Opens what aborts the connection when it is written to. fusectl is mounted for this alone, nowhere:
/// what others have mounted at its usual place need not be it.
fn abort_file(device: DeviceNumber) -> Result<OwnedFd> {
    /// A directory of fusectl has the number of the mount's device as the kernel keeps it (`fuse_ctl_add_conn`,
    /// fs/fuse/control.c; `MINORBITS`, include/linux/kdev_t.h).
    const MINOR_BITS: u32 = 20;
    let connection = device.major << MINOR_BITS | device.minor;
    fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)
        .and_then(|context| {
            fsconfig_create(&context)?;
            let flags = FsMountFlags::FSMOUNT_CLOEXEC;
            fsmount(&context, flags, MountAttrFlags::empty())
        })
        .and_then(|root| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            openat(root, format!("{connection}/abort"), flags, Mode::empty())
        })
        .map_err(|errno| Error::system("cannot open the connection's abort file in fusectl", errno))
}

/// The undertaker's life. It ends when the daemon has.
///
/// # Errors
///
/// It was not started as [`Undertaker::start`] does.
pub fn run() -> Result<()> {
    let cannot = |errno| Error::system("cannot be an undertaker", errno);
    // Who ends a whole group of processes by a signal is to find this one behind the daemon.
    SigSet::all()
        .thread_block()
        .map_err(|errno| Error::system("cannot block signals", errno))?;
    rustix::thread::set_name(c"shmfuse-abort").map_err(cannot)?;
    privilege::settle_bystander()?;
    set_parent_process_death_signal(Some(rustix::process::Signal::USR1)).map_err(cannot)?;
    let daemon = getppid()
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|daemon| pidfd_open(daemon, PidfdFlags::empty()))
        .map_err(cannot)?;
    // The daemon waits for this. One that has gone has no mount, and this fails.
    rustix::io::write(io::stdout(), b"\n").map_err(cannot)?;
    rustix::stdio::dup2_stdout(io::stdin()).map_err(cannot)?;
    SigSet::from(Signal::SIGUSR1)
        .wait()
        .map_err(|errno| Error::system("cannot wait for the daemon's death", errno))?;
    if !is_ready(&daemon, PATIENCE) {
        rustix::io::write(io::stdin(), b"1").map_err(cannot)?;
    }
    Ok(())
}
