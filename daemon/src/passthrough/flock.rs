//! Ranges of bytes as fcntl(2) has them: `struct flock`.

use crate::fuse::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;

use super::lock_ranges::{ByteRange, LAST_BYTE, LockKind};

/// What fcntl(2) is asked for: this lock on this range, or none (`F_UNLCK`).
pub(super) fn to_flock(range: ByteRange, kind: Option<LockKind>) -> libc::flock {
    let l_type = match kind {
        Some(LockKind::Read) => libc::F_RDLCK,
        Some(LockKind::Write) => libc::F_WRLCK,
        None => libc::F_UNLCK,
    };
    // The end of all files is written as length 0.
    let l_len = match range.end {
        LAST_BYTE => 0,
        end => end - range.start + 1,
    };
    libc::flock {
        l_type: l_type as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: range.start as i64,
        l_len: l_len as i64,
        l_pid: 0,
    }
}

/// The range of a lock that fcntl(2) told of.
pub(super) fn from_flock(lock: &libc::flock) -> ByteRange {
    let start = lock.l_start as u64;
    let end = match lock.l_len {
        0 => LAST_BYTE,
        len => start + len as u64 - 1,
    };
    ByteRange { start, end }
}

/// Gives up what this open file description holds of the range.
pub(super) fn unlock(file: &File, range: ByteRange) {
    if let Err(errno) = fcntl(file, FcntlArg::F_OFD_SETLK(&to_flock(range, None))) {
        tracing::warn!(%errno, "cannot give up locks before their file is closed");
    }
}

/// The errno of a failed call.
pub(super) fn from_nix(errno: nix::Error) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}
