//! The mount that a command is about, and the daemon behind it.

use crate::{
    error::{Error, Result},
    mount::{
        presence::{self, Daemon},
        table::{Mount, MountTable},
    },
};
use std::path::Path;

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

/// The daemon that serves `mount`.
///
/// # Errors
///
/// It has gone, or cannot be seen from here.
pub fn daemon(mount: &Mount) -> Result<Daemon> {
    presence::find(mount.device).ok_or_else(|| {
        let remedy = "umount -l ends what it left behind";
        let place = mount.mountpoint.display().to_string();
        Error::refused(place, "its daemon is gone", remedy)
    })
}
