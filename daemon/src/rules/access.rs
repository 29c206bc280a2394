//! The rule book of a mount that another process serves.
//!
//! With the transport shm it lies in a map, which is found as `shmfuse stat` finds the counters; with the
//! others in a memory file of the daemon, reached through `/proc/PID/fd` by who may trace the daemon
//! (proc(5)): root, or the user whose daemon it is.

use super::book::{Book, FILE_NAME};
use crate::{
    bpf::{observe, words::SharedArray},
    error::{Error, Result},
};
use rustix::process::{Pid, Signal};
use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// The rule book that the daemon `pid` goes by.
///
/// # Errors
///
/// [`Error::Refused`] if it has none, another error if this user may not look.
pub fn book_of(pid: Pid) -> Result<Book> {
    if let Some(path) = file_of(pid)? {
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(|error| {
            Error::path("cannot open the rules in", &path, error).with_remedy(WHO)
        })?;
        return Ok(Book::new(SharedArray::of_file(file.as_fd(), 1)?));
    }
    let map = observe::shared_map_of(pid, "RULES")?;
    map.map(Book::new).ok_or_else(|| {
        let daemon = format!("daemon {}", pid.as_raw_nonzero());
        Error::refused(
            daemon,
            "it has no rules",
            "mount with this version of shmfuse",
        )
    })
}

const WHO: &str = "run as root, or as the user who mounted";

/// Tells the daemon that its rule book has changed.
///
/// # Errors
///
/// It has gone, or this user may not.
pub fn remind(pid: Pid) -> Result<()> {
    rustix::process::kill_process(pid, Signal::USR2)
        .map_err(|errno| Error::system("cannot tell the daemon of the rules", errno))
}

/// The memory file of rules that a process has open.
fn file_of(pid: Pid) -> Result<Option<PathBuf>> {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let entries = fs::read_dir(&folder)
        .map_err(|error| Error::path("cannot list", &folder, error).with_remedy(WHO))?;
    let name = format!("/memfd:{FILE_NAME} (deleted)");
    let is_ours = |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.as_os_str() == &*name);
    Ok(entries.flatten().map(|entry| entry.path()).find(is_ours))
}

/// The number that users see of a directory below `mountpoint`. This makes requests on the mount.
///
/// # Errors
///
/// If it is none, or lies on another mount.
pub fn number_of(mountpoint: &Path, subtree: &str) -> Result<u64> {
    let examine = |path: &Path| {
        fs::symlink_metadata(path).map_err(|error| {
            let remedy = "a subtree is named by its path from the root of the mount";
            Error::path("cannot examine", path, error).with_remedy(remedy)
        })
    };
    let path = mountpoint.join(subtree);
    let (root, found) = (examine(mountpoint)?, examine(&path)?);
    if found.is_dir() && found.dev() == root.dev() {
        return Ok(found.ino());
    }
    let why = "not a directory of this mount";
    Err(Error::refused(path.display().to_string(), why, "name one"))
}
