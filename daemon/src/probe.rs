//! Whether a mount answers.

use crate::error::{Error, Result};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statfs, statx},
    io::Errno,
};
use std::{
    io::{self, PipeReader},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

/// How long the first answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `FUSE_SUPER_MAGIC` (include/uapi/linux/magic.h).
const FUSE: i64 = 0x6573_5546;

/// A question to a mount: its statistics, and the attributes of its root.
///
/// It is asked by a thread of its own, which could wait for ever. The descriptor ([`AsFd`])
/// becomes ready when there is an answer.
#[derive(Debug)]
pub struct Probe {
    mountpoint: PathBuf,
    answer: Receiver<Result<i64, Errno>>,
    /// Hangs up when the thread ends.
    answered: PipeReader,
}

impl Probe {
    /// Asks what is mounted at `mountpoint`.
    ///
    /// # Errors
    ///
    /// No thread, or no pipe.
    pub fn start(mountpoint: &Path) -> Result<Self> {
        let cannot = |error| Error::system("cannot ask the mount", error);
        let (answered, writer) = io::pipe().map_err(cannot)?;
        let (sender, answer) = sync_channel(1);
        let place = mountpoint.to_owned();
        let body = move || {
            let _hangs_up = writer;
            // Nobody waits any more if this fails.
            let _ = sender.send(ask(&place));
        };
        let thread = thread::Builder::new().name("probe".into());
        thread.spawn(body).map_err(cannot)?;
        Ok(Self {
            mountpoint: mountpoint.to_owned(),
            answer,
            answered,
        })
    }

    /// What has been answered, or is within `patience`.
    ///
    /// # Errors
    ///
    /// It does not answer in time, or with an error.
    pub fn outcome(&self, patience: Duration) -> Result<Answer> {
        let place = || self.mountpoint.display().to_string();
        match self.answer.recv_timeout(patience) {
            Ok(Ok(FUSE)) => Ok(Answer::Ours),
            Ok(Ok(_)) => Ok(Answer::Another),
            Ok(Err(errno)) => Err(Error::path("no answer from", &self.mountpoint, errno)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let why = format!("no answer within {} s", PATIENCE.as_secs());
                let remedy = "try another --transport; the log may say more";
                Err(Error::refused(place(), why, remedy))
            }
        }
    }
}

/// Who answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A FUSE mount.
    Ours,
    /// Another file system: the mount has ended here, or another one covers it.
    Another,
}

impl AsFd for Probe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.answered.as_fd()
    }
}

/// Asks the file system at `mountpoint`, and waits up to [`PATIENCE`]. Not to be called by a
/// process that serves the mount.
///
/// # Errors
///
/// It does not answer in time, with an error, or is not ours.
pub fn answers(mountpoint: &Path) -> Result<()> {
    match Probe::start(mountpoint)?.outcome(PATIENCE)? {
        Answer::Ours => Ok(()),
        Answer::Another => {
            let why = "the mount has ended, or another one covers it";
            Err(Error::refused(mountpoint.display().to_string(), why, ""))
        }
    }
}

/// The type of the file system, once it has answered.
fn ask(mountpoint: &Path) -> Result<i64, Errno> {
    statx(
        CWD,
        mountpoint,
        AtFlags::STATX_FORCE_SYNC,
        StatxFlags::BASIC_STATS,
    )?;
    Ok(statfs(mountpoint)?.f_type as i64)
}
