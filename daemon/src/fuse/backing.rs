//! Backing ids: lower files that the kernel reads and writes by itself.

use std::{io, os::fd::BorrowedFd};

/// Names a lower file registered with the kernel for `FOPEN_PASSTHROUGH`; positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BackingId(pub i32);

/// Registers lower files with the kernel.
pub trait Backing: Send + Sync {
    /// `FUSE_DEV_IOC_BACKING_OPEN` (fs/fuse/passthrough.c). The kernel keeps the calling thread's
    /// credentials with the file and uses them for every read and write.
    ///
    /// # Errors
    ///
    /// `EPERM` without CAP_SYS_ADMIN, `EOPNOTSUPP` if `file` is not a regular file, `ELOOP` if its
    /// file system is itself stacked too deep.
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<BackingId>;

    /// `FUSE_DEV_IOC_BACKING_CLOSE`. Files already open keep the backing file.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such id.
    fn close(&self, id: BackingId) -> io::Result<()>;
}
