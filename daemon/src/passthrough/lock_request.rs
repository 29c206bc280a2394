//! A lock as an application asks for it.

use super::lock_ranges::{ByteRange, LockKind};
use crate::fuse::Errno;
use transport::wire::FileLock;

/// Who wants what of which inode.
#[derive(Clone, Copy, Debug)]
pub struct LockRequest {
    /// The inode.
    pub nodeid: u64,
    /// The kernel's name for the owner.
    pub owner: u64,
    /// By which handle; a lock that is still there when the handle is released goes with it.
    pub fh: u64,
    /// The process, as other processes of the mount are to see it.
    pub pid: u32,
    /// Which bytes.
    pub range: ByteRange,
    /// What to hold in them; `None` unlocks.
    pub kind: Option<LockKind>,
}

impl LockRequest {
    /// From GETLK, SETLK or SETLKW.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the range or the kind is none.
    pub fn of(nodeid: u64, owner: u64, fh: u64, lock: &FileLock) -> Result<Self, Errno> {
        let kind = match lock.kind as i32 {
            libc::F_RDLCK => Some(LockKind::Read),
            libc::F_WRLCK => Some(LockKind::Write),
            libc::F_UNLCK => None,
            _ => return Err(Errno::INVAL),
        };
        let range = ByteRange::of(lock).ok_or(Errno::INVAL)?;
        let pid = lock.pid;
        Ok(Self {
            nodeid,
            owner,
            fh,
            pid,
            range,
            kind,
        })
    }
}
