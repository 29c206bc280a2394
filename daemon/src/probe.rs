//! Whether a mount answers.

use crate::error::{Error, Result};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statfs, statx},
    io::Errno,
};
use std::{
    path::Path,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

/// How long the first answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// `FUSE_SUPER_MAGIC` (include/uapi/linux/magic.h).
const FUSE: i64 = 0x6573_5546;

/// Asks the file system at `mountpoint` for its statistics and the attributes of its root.
///
/// The question is asked by a thread of its own: it could wait for ever. Not to be called by a
/// thread that serves the mount.
///
/// # Errors
///
/// It does not answer in time, with an error, or is not ours.
pub fn answers(mountpoint: &Path) -> Result<()> {
    let place = mountpoint.to_owned();
    let (sender, receiver) = sync_channel(1);
    let asked = thread::Builder::new().name("probe".into()).spawn(move || {
        // The receiver has given up if this fails.
        let _ = sender.send(ask(&place));
    });
    asked.map_err(|error| Error::system("cannot start a thread", error))?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(FUSE)) => Ok(()),
        Ok(Ok(_)) => Err(Error::refused(
            mountpoint.display().to_string(),
            "the mount has ended, or another one covers it",
            "",
        )),
        Ok(Err(errno)) => Err(Error::path("no answer from", mountpoint, errno)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Error::refused(
            mountpoint.display().to_string(),
            format!("no answer within {} s", PATIENCE.as_secs()),
            "try another --transport; the log may say more",
        )),
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
