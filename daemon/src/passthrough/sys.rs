//! The system calls that neither nix nor rustix offers.

#![expect(unsafe_code, reason = "raw system calls")]

use crate::fuse::Errno;
use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Most bytes of a file handle (`MAX_HANDLE_SZ`, include/linux/exportfs.h).
pub const MAX_HANDLE_BYTES: usize = 128;

/// `AT_HANDLE_MNT_ID_UNIQUE`, since Linux 6.12.
pub const AT_HANDLE_MNT_ID_UNIQUE: i32 = 0x001;

/// `struct file_handle` with all the room a handle can need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawHandle {
    /// Bytes of `bytes` that are used, 0 ..= [`MAX_HANDLE_BYTES`].
    pub len: u32,
    /// The file system's own classification.
    pub kind: i32,
    /// The handle proper.
    pub bytes: [u8; MAX_HANDLE_BYTES],
}

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// name_to_handle_at(2): the handle of `name` in `dir` and the id of its mount, of the kind that
/// `flags` ask for.
///
/// # Errors
///
/// Those of the system call.
pub fn name_to_handle_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: i32,
) -> Result<(RawHandle, u64), Errno> {
    let mut handle = RawHandle {
        len: MAX_HANDLE_BYTES as u32,
        kind: 0,
        bytes: [0; MAX_HANDLE_BYTES],
    };
    let mut mount_id = 0u64;
    // SAFETY: `name` ends in NUL; `handle` is a struct file_handle with room for the `len` bytes
    // it announces; `mount_id` has room for the 8 bytes of a unique id, and for the 4 of the other
    // kind. All live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw mut handle,
            &raw mut mount_id,
            flags,
        )
    };
    check(result)?;
    if flags & AT_HANDLE_MNT_ID_UNIQUE == 0 {
        // An int was written to the first four bytes.
        let [a, b, c, d, ..] = mount_id.to_ne_bytes();
        mount_id = u64::from(u32::from_ne_bytes([a, b, c, d]));
    }
    Ok((handle, mount_id))
}

/// open_by_handle_at(2).
///
/// # Errors
///
/// Those of the system call: `ESTALE` if there is no such inode any more, `EPERM` without
/// CAP_DAC_READ_SEARCH.
pub fn open_by_handle_at(
    mount: BorrowedFd<'_>,
    handle: &RawHandle,
    flags: i32,
) -> Result<OwnedFd, Errno> {
    // SAFETY: `handle` is a struct file_handle whose `len` bytes lie in it; the kernel only reads
    // it, whatever the prototype says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw const *handle,
            flags,
        )
    };
    let fd = check(result)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// fchmodat2(2) of what `fd` refers to, an `O_PATH` descriptor included.
///
/// # Errors
///
/// Those of the system call: `ENOSYS` before Linux 6.6.
pub fn chmod_fd(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    // SAFETY: the path is an empty C string; the other arguments are plain numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            fd.as_raw_fd(),
            c"".as_ptr(),
            mode,
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).map(drop)
}

/// mount_setattr(2): makes the mount tree that `fd` refers to private, recursively.
///
/// # Errors
///
/// Those of the system call.
pub fn make_tree_private(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    /// `struct mount_attr` in its first version.
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = MountAttr {
        attr_set: 0,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string; `attr` is a struct mount_attr of the length given and
    // only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// getdents64(2): fills `buffer` with whole entries and returns how many bytes of it; 0 at the
/// end of the directory.
///
/// # Errors
///
/// Those of the system call: `EINVAL` if `buffer` is too small for one entry.
pub fn getdents64(dir: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`, which we borrow mutably.
    let result = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            dir.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    Ok(check(result)? as usize)
}
