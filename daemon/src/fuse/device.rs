//! `/dev/fuse`: one channel to the kernel's end of a mount.

#![expect(
    unsafe_code,
    reason = "the ioctls of /dev/fuse take pointers (fs/fuse/dev.c)"
)]

use super::{Backing, BackingId, Errno};
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use transport::wire::BackingMap;

/// Where the device is.
pub const PATH: &str = "/dev/fuse";

mod ioctl {
    //! Number 229 is `FUSE_DEV_IOC_MAGIC` of include/uapi/linux/fuse.h.
    nix::ioctl_read!(
        /// `FUSE_DEV_IOC_CLONE`.
        clone,
        229,
        0,
        u32
    );
    nix::ioctl_write_ptr!(
        /// `FUSE_DEV_IOC_BACKING_OPEN`.
        backing_open,
        229,
        1,
        transport::wire::BackingMap
    );
    nix::ioctl_write_ptr!(
        /// `FUSE_DEV_IOC_BACKING_CLOSE`.
        backing_close,
        229,
        2,
        u32
    );
}

/// An open `/dev/fuse`. Clones are the same channel; [`clone_channel`](Self::clone_channel) makes
/// another one.
///
/// A reply must be written to the channel that its request was read from. When the last
/// descriptor of the last channel is closed, the kernel aborts the connection.
#[derive(Clone, Debug)]
pub struct Device {
    fd: Arc<OwnedFd>,
}

impl Device {
    /// Opens `/dev/fuse`; mount(2) with `fd=` then ties it to a mount.
    ///
    /// # Errors
    ///
    /// What open(2) says, with the remedy.
    pub fn open() -> Result<Self> {
        Self::open_raw().map_err(|errno| {
            let remedy = match errno {
                Errno::NOENT | Errno::NODEV | Errno::NXIO => {
                    "try 'modprobe fuse'; in a container, pass the device in with '--device /dev/fuse'"
                }
                Errno::ACCESS | Errno::PERM => {
                    "its mode must allow reading and writing ('chmod 0666 /dev/fuse'), and the container's device policy too"
                }
                _ => "",
            };
            Error::path("cannot open", PATH, errno).with_remedy(remedy)
        })
    }

    fn open_raw() -> Result<Self, Errno> {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::open(PATH, flags, rustix::fs::Mode::empty())?;
        Ok(Self::from_fd(fd))
    }

    /// A descriptor of `/dev/fuse` that somebody else opened (fusermount3 hands one over).
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd) }
    }

    /// Another channel to the same mount, with a queue of its own for the requests being served
    /// (`FUSE_DEV_IOC_CLONE`), so that threads do not contend for one.
    ///
    /// # Errors
    ///
    /// `EINVAL` before the mount.
    pub fn clone_channel(&self) -> Result<Self> {
        let channel = Self::open_raw().map_err(|errno| Error::path("cannot open", PATH, errno))?;
        let mut source = self.fd.as_raw_fd() as u32;
        // SAFETY: FUSE_DEV_IOC_CLONE reads one u32 through the pointer, which is valid for it.
        unsafe { ioctl::clone(channel.fd.as_raw_fd(), &mut source) }
            .map_err(|errno| Error::path("cannot clone the channel of", PATH, errno))?;
        Ok(channel)
    }

    /// Reads one request.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the request was interrupted before it was read. `ENODEV`: the mount is gone.
    /// `ECONNABORTED`: the connection was aborted. `EPERM`: not mounted yet.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(&self.fd, buffer)
    }

    /// Writes one reply or notification, whole.
    ///
    /// # Errors
    ///
    /// `ENOENT`: nobody waits for the reply any more. `ENODEV`: the mount is gone. `EINVAL`: the
    /// message is malformed.
    pub fn write(&self, message: &[u8]) -> Result<(), Errno> {
        rustix::io::write(&self.fd, message).map(drop)
    }

    /// Writes one reply or notification, whole, from several pieces.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn writev(&self, message: &[IoSlice<'_>]) -> Result<(), Errno> {
        rustix::io::writev(&self.fd, message).map(drop)
    }

    /// Waits until there is a request to read, or the mount is gone.
    ///
    /// # Errors
    ///
    /// What poll(2) says.
    pub fn wait_readable(&self) -> Result<(), Errno> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        rustix::event::poll(&mut fds, None).map(drop)
    }

    /// Whether the connection has ended, by an unmount or an abort.
    ///
    /// # Errors
    ///
    /// What poll(2) says.
    pub fn has_ended(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
        Ok(fds[0].revents().contains(PollFlags::ERR))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Backing for Device {
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<BackingId> {
        let map = BackingMap {
            fd: file.as_raw_fd(),
            ..BackingMap::default()
        };
        // SAFETY: the ioctl reads one `struct fuse_backing_map` through the pointer.
        let id = unsafe { ioctl::backing_open(self.fd.as_raw_fd(), &map) }?;
        Ok(BackingId(id))
    }

    fn close(&self, id: BackingId) -> io::Result<()> {
        let id = id.0 as u32;
        // SAFETY: the ioctl reads one u32 through the pointer.
        unsafe { ioctl::backing_close(self.fd.as_raw_fd(), &id) }?;
        Ok(())
    }
}
