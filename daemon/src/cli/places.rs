//! The two directories of `shmfuse mount`.

use crate::{
    error::{Error, Result},
    mount::table,
};
use std::path::{Path, PathBuf};

/// The absolute path of an existing directory.
///
/// # Errors
///
/// It is missing, or none.
pub fn directory(path: &Path, what: &'static str) -> Result<PathBuf> {
    let found = path.canonicalize().map_err(|error| {
        let remedy = match error.raw_os_error() {
            Some(libc::ENOENT) => format!("create {what} first"),
            Some(libc::ENOTCONN) => {
                let path = path.display();
                format!("the daemon of what is mounted there has died: umount {path}")
            }
            _ => String::new(),
        };
        Error::path("cannot use", path, error).with_remedy(remedy)
    })?;
    if found.is_dir() {
        Ok(found)
    } else {
        let path = path.display().to_string();
        Err(Error::refused(
            path,
            "not a directory",
            format!("{what} must be one"),
        ))
    }
}

/// The mountpoint. The mount table is asked before the directory itself: what is mounted there
/// may have lost its daemon, and would not answer.
///
/// # Errors
///
/// As [`directory`], and that shmfuse is mounted there already.
pub fn mountpoint(path: &Path) -> Result<PathBuf> {
    let table = table::MountTable::read()?;
    if let Some(mount) = table.resolve(path).filter(|mount| mount.is_ours()) {
        return Err(table::already_mounted(mount));
    }
    directory(path, "the mountpoint")
}
