//! GETLK, SETLK, SETLKW: locks of fcntl(2) and of flock(2), which the protocol carries alike.

use super::{Passthrough, lock_request::LockRequest, open_file::OpenFile};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use rustix::fs::FlockOperation;
use std::os::fd::AsFd;
use transport::wire::{FileLock, LkFlags, LkIn, LkOut, Opcode};

impl Passthrough {
    /// GETLK: what is in the way of a lock of fcntl(2).
    pub(super) fn getlk(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let request: LkIn = exchange.arg()?;
        let open = self.files.get(request.fh).ok_or(Errno::BADF)?;
        let wanted = LockRequest::of(open.nodeid(), request.owner, request.fh, &request.lk)?;
        let found = self.locks.test(&wanted, open.as_fd())?;
        let lk = found.unwrap_or(FileLock {
            kind: libc::F_UNLCK as u32,
            ..request.lk
        });
        exchange.reply(&LkOut { lk })
    }

    /// SETLK, and SETLKW, which waits.
    pub(super) fn setlk(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: LkIn = exchange.arg()?;
        let open = self.files.get(request.fh).ok_or(Errno::BADF)?;
        let wait = exchange.header().opcode == Opcode::SETLKW;
        if request.lk_flags.contains(LkFlags::FLOCK) {
            flock(&open, &request.lk, wait, thread)?;
            return Ok(Body::Empty);
        }
        let wanted = LockRequest::of(open.nodeid(), request.owner, request.fh, &request.lk)?;
        if wait {
            self.locks
                .set_waiting(&wanted, open.as_fd(), || thread.interrupted())?;
        } else {
            self.locks.set(&wanted, open.as_fd())?;
        }
        Ok(Body::Empty)
    }
}

/// flock(2) belongs to the open file, and the lower file is as much the handle's own as the
/// application's file is.
fn flock(open: &OpenFile, lock: &FileLock, wait: bool, thread: &ServeThread) -> Result<(), Errno> {
    let operation = match (lock.kind as i32, wait) {
        (libc::F_RDLCK, true) => FlockOperation::LockShared,
        (libc::F_RDLCK, false) => FlockOperation::NonBlockingLockShared,
        (libc::F_WRLCK, true) => FlockOperation::LockExclusive,
        (libc::F_WRLCK, false) => FlockOperation::NonBlockingLockExclusive,
        (libc::F_UNLCK, _) => FlockOperation::Unlock,
        _ => return Err(Errno::INVAL),
    };
    loop {
        match rustix::fs::flock(open, operation) {
            Err(Errno::INTR) if !thread.interrupted() => {}
            done => return done,
        }
    }
}
