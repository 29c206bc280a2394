//! `/proc/self/fd`: from a descriptor to a path, for what the kernel offers for paths only.

use crate::fuse::Errno;
use rustix::{
    fs::{Mode, OFlags},
    path::DecInt,
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

/// The directory, kept open.
///
/// # Errors
///
/// Those of open(2): `ENOENT` if /proc is not mounted.
pub fn directory() -> Result<BorrowedFd<'static>, Errno> {
    static DIRECTORY: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(directory) = DIRECTORY.get() {
        return Ok(directory.as_fd());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
    Ok(DIRECTORY.get_or_init(|| directory).as_fd())
}

/// The name in [`directory`] of the magic link that leads to what `fd` refers to.
pub fn name(fd: BorrowedFd<'_>) -> DecInt {
    DecInt::from_fd(fd)
}

/// Opens what `fd` (an `O_PATH` descriptor, of no symlink) refers to once more, with `flags`.
///
/// # Errors
///
/// Those of open(2).
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        directory()?,
        name(fd),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
