//! The mount that a command is about, and the daemon behind it.

use crate::{
    error::{Error, Result},
    mount::{
        presence::{self, Daemon},
        table::{Mount, MountTable},
    },
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The mount of shmfuse at `place`.
///
/// # Errors
///
/// There is none.
pub fn mount(place: &Path) -> Result<Mount> {
    let table = MountTable::read()?;
    let found = table.resolve(place).filter(|mount| mount.is_ours());
    found.cloned().ok_or_else(|| {
        let remedy = "findmnt -t fuse.shmfuse lists what is mounted";
        Error::refused(
            place.display().to_string(),
            "shmfuse is not mounted there",
            remedy,
        )
    })
}

/// How long a daemon may take from its mount to its presence: the first is made before the second.
const STARTING: Duration = Duration::from_secs(2);

/// The daemon that serves `mount`, or is about to.
///
/// # Errors
///
/// It has gone, or cannot be seen from here.
pub fn daemon(mount: &Mount) -> Result<Daemon> {
    let start = Instant::now();
    loop {
        if let Some(daemon) = presence::find(mount.device) {
            return Ok(daemon);
        }
        if start.elapsed() >= STARTING {
            let remedy = "umount -l ends what it left behind";
            let place = mount.mountpoint.display().to_string();
            return Err(Error::refused(place, "its daemon is gone", remedy));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
