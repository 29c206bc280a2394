//! Whether a mount answers.
//!
//! Nobody may ask who serves the mount: a thread that waits for an answer of its own process cannot be
//! killed, and as long as it is there `/dev/fuse` stays open, so that the kernel does not end the request
//! either (`request_wait_answer`, fs/fuse/dev.c). A daemon that was killed meanwhile would never go, and with
//! it everybody would wait who uses the mount. A daemon starts this program anew to ask ([`Inquiry`]); the command
//! that started it asks by itself ([`answers`]).

use crate::{
    error::{Error, Result},
    mount::presence::is_ready,
};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statfs, statx},
    io::Errno,
};
use std::{
    io::{self, PipeReader, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

/// How long the first answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The subcommand that asks for a daemon; nobody is told of it.
const SUBCOMMAND: &str = "probe";

/// `FUSE_SUPER_MAGIC` (include/uapi/linux/magic.h).
const FUSE: i64 = 0x6573_5546;

/// Who answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A FUSE mount.
    Ours,
    /// Another file system: the mount has ended here, or another one covers it.
    Another,
}

/// A question to the mount that this process serves, asked by another one. The descriptor ([`AsFd`]) becomes
/// ready when there is an answer.
#[derive(Debug)]
pub struct Inquiry {
    mountpoint: PathBuf,
    asking: Child,
    /// Hangs up when the process ends.
    said: PipeReader,
}

impl Inquiry {
    /// Has `program`, which is this one, ask what is mounted at `mountpoint`.
    ///
    /// # Errors
    ///
    /// No process, or no pipe.
    pub fn start(program: &Path, mountpoint: &Path) -> Result<Self> {
        let (said, saying) =
            io::pipe().map_err(|error| Error::system("cannot make a pipe", error))?;
        let asking = Command::new(program)
            .arg0("shmfuse")
            .args([SUBCOMMAND, "--"])
            .arg(mountpoint)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(saying)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::path("cannot start", program, error))?;
        Ok(Self {
            mountpoint: mountpoint.to_owned(),
            asking,
            said,
        })
    }

    /// What has been answered.
    ///
    /// # Errors
    ///
    /// Nothing yet, or an error.
    pub fn outcome(mut self) -> Result<Answer> {
        if !is_ready(&self.said, Duration::ZERO) {
            // It goes when the mount ends.
            let _ = self.asking.kill();
            return Err(no_answer(&self.mountpoint));
        }
        let mut said = String::new();
        let heard = self.said.read_to_string(&mut said);
        heard
            .and_then(|_| self.asking.wait())
            .map_err(|error| Error::system("cannot hear who asks the mount", error))?;
        // What it says is of `run`, and nothing at all if somebody has killed it.
        match said.trim().parse() {
            Ok(0) => Ok(Answer::Ours),
            Ok(-1) => Ok(Answer::Another),
            Ok(errno) => Err(failed(&self.mountpoint, Errno::from_raw_os_error(errno))),
            Err(_) => Err(no_answer(&self.mountpoint)),
        }
    }
}

impl AsFd for Inquiry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.said.as_fd()
    }
}

/// Asks for a daemon, and writes the answer to standard output.
///
/// # Errors
///
/// The daemon has gone.
pub fn run(mountpoint: &Path) -> Result<()> {
    let number = match ask(mountpoint) {
        Ok(Answer::Ours) => 0,
        Ok(Answer::Another) => -1,
        Err(errno) => errno.raw_os_error(),
    };
    writeln!(io::stdout(), "{number}").map_err(|error| Error::system("the daemon has gone", error))
}

/// Asks the file system at `mountpoint`, and waits up to [`PATIENCE`]. Not to be called by a
/// process that serves the mount.
///
/// # Errors
///
/// It does not answer in time, with an error, or is not ours.
pub fn answers(mountpoint: &Path) -> Result<()> {
    let (sender, answer) = sync_channel(1);
    let place = mountpoint.to_owned();
    thread::Builder::new()
        .name("probe".into())
        .spawn(move || {
            // Nobody waits any more if this fails.
            let _ = sender.send(ask(&place));
        })
        .map_err(|error| Error::system("cannot ask the mount", error))?;
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(Answer::Ours)) => Ok(()),
        Ok(Ok(Answer::Another)) => {
            let why = "the mount has ended, or another one covers it";
            Err(Error::refused(mountpoint.display().to_string(), why, ""))
        }
        Ok(Err(errno)) => Err(failed(mountpoint, errno)),
        Err(_) => Err(no_answer(mountpoint)),
    }
}

fn failed(mountpoint: &Path, errno: Errno) -> Error {
    Error::path("no answer from", mountpoint, errno)
}

fn no_answer(mountpoint: &Path) -> Error {
    let why = format!("no answer within {} s", PATIENCE.as_secs());
    let remedy = "try another --transport; the log may say more";
    Error::refused(mountpoint.display().to_string(), why, remedy)
}

/// Its statistics, and the attributes of its root.
fn ask(mountpoint: &Path) -> Result<Answer, Errno> {
    statx(
        CWD,
        mountpoint,
        AtFlags::STATX_FORCE_SYNC,
        StatxFlags::BASIC_STATS,
    )?;
    match statfs(mountpoint)?.f_type as i64 {
        FUSE => Ok(Answer::Ours),
        _ => Ok(Answer::Another),
    }
}
