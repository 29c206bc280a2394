//! IOCTL: the attributes that lsattr(1) and project quotas use; and BMAP.
//!
//! The kernel carries an ioctl only if its number says how much memory it reads and writes
//! (fs/fuse/ioctl.c, "restricted"). The four below do, and the kernel makes them for
//! `fileattr_get` and `fileattr_set`, after checking the caller's rights (`vfs_fileattr_set`,
//! fs/file_attr.c). FICLONE and FICLONERANGE never arrive: `do_vfs_ioctl` (fs/ioctl.c) turns them
//! into `remap_file_range`, which FUSE does not have; copy_file_range(2) shares extents where the
//! lower file system can. Every other ioctl is answered `ENOTTY`, as by a file that has none.

#![expect(unsafe_code, reason = "ioctl(2) takes pointers")]

use super::Passthrough;
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use bytemuck::{Pod, Zeroable};
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, BorrowedFd};
use transport::wire::{IoctlIn, IoctlOut};

/// `struct fsxattr` (include/uapi/linux/fs.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;

/// Whether an ioctl changes its inode. Of the others most are answered `ENOTTY`, such as the question
/// whether the file is a terminal, which comes with each open of some languages' libraries.
pub(super) fn is_change(cmd: u32) -> bool {
    matches!(cmd, FS_IOC_SETFLAGS | FS_IOC_FSSETXATTR)
}

impl Passthrough {
    /// IOCTL, of a regular file or a directory.
    pub(super) fn ioctl(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: IoctlIn = exchange.arg()?;
        let known = [
            FS_IOC_GETFLAGS,
            FS_IOC_SETFLAGS,
            FS_IOC_FSGETXATTR,
            FS_IOC_FSSETXATTR,
        ];
        if !known.contains(&request.cmd) {
            return Err(Errno::NOTTY);
        }
        let inode = self.inode(exchange.header().nodeid)?;
        let file = self.reopen(&inode, OFlags::RDONLY | OFlags::NONBLOCK)?;
        thread.creds.with_fsetid()?;
        match request.cmd {
            FS_IOC_GETFLAGS => get::<u32>(exchange, file.as_fd(), &request),
            FS_IOC_FSGETXATTR => get::<FsXattr>(exchange, file.as_fd(), &request),
            FS_IOC_SETFLAGS => set::<u32>(exchange, file.as_fd(), &request),
            _ => set::<FsXattr>(exchange, file.as_fd(), &request),
        }
    }

    /// BMAP: block numbers of the lower device mean nothing on a file system without a device. The
    /// kernel asks no more.
    pub(super) fn bmap(&self) -> Answer {
        Err(Errno::NOSYS)
    }
}

/// An ioctl of the lower file that writes a `T`.
fn get<T: Pod>(
    exchange: &mut (dyn Exchange + '_),
    file: BorrowedFd<'_>,
    request: &IoctlIn,
) -> Answer {
    // The kernel's own requests have room for a `T` and nothing else; an application's length is
    // the one in the number, which for GETFLAGS says long where int is meant.
    let room = request.out_size as usize;
    if room < size_of::<T>() {
        return Err(Errno::INVAL);
    }
    let mut value = T::zeroed();
    // SAFETY: every `cmd` with which this is called writes at most a `T` through the pointer.
    unsafe { ioctl(file, request.cmd, &mut value) }?;
    let head = IoctlOut::default();
    let head = bytemuck::bytes_of(&head);
    let out = exchange.out();
    let out = out.get_mut(..head.len() + room).ok_or(Errno::INVAL)?;
    out.fill(0);
    out[..head.len()].copy_from_slice(head);
    out[head.len()..][..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
    Ok(Body::Out(out.len()))
}

/// An ioctl of the lower file that reads a `T`.
fn set<T: Pod>(
    exchange: &mut (dyn Exchange + '_),
    file: BorrowedFd<'_>,
    request: &IoctlIn,
) -> Answer {
    let bytes = exchange
        .payload()
        .get(..size_of::<T>())
        .ok_or(Errno::INVAL)?;
    let mut value: T = bytemuck::pod_read_unaligned(bytes);
    // SAFETY: every `cmd` with which this is called reads at most a `T` through the pointer.
    unsafe { ioctl(file, request.cmd, &mut value) }?;
    exchange.reply(&IoctlOut::default())
}

/// # Safety
///
/// `cmd` reads and writes at most a `T` through its pointer.
unsafe fn ioctl<T: Pod>(file: BorrowedFd<'_>, cmd: u32, value: &mut T) -> Result<(), Errno> {
    // SAFETY: `value` is valid for a `T`, and the caller answers for `cmd`.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), cmd.into(), &raw mut *value) };
    nix::errno::Errno::result(result)
        .map(drop)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}
