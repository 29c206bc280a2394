//! `/proc/self/fd`: from a descriptor to a path, for what the kernel offers for paths only.

use crate::fuse::Errno;
use rustix::{
    fs::{Mode, OFlags},
    path::DecInt,
};
use std::{
    ffi::CStr,
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
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

/// The path of the magic link that leads to what `fd` refers to.
pub fn path(fd: BorrowedFd<'_>) -> FdPath {
    let mut path = [0; FD_PATH_LEN];
    let mut rest = &mut path[..FD_PATH_LEN - 1];
    // The longest number fits: an i32 has at most 11 characters.
    let written = write!(rest, "/proc/self/fd/{}", fd.as_raw_fd());
    debug_assert!(written.is_ok());
    FdPath(path)
}

const FD_PATH_LEN: usize = "/proc/self/fd/".len() + 12;

/// See [`path`](path()).
#[derive(Debug)]
pub struct FdPath([u8; FD_PATH_LEN]);

impl FdPath {
    /// The path.
    pub fn as_c_str(&self) -> &CStr {
        // The last byte is NUL in any case.
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}
