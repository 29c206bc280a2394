//! Requests that a daemon which died had taken: the kernel sends them again (`FUSE_NOTIFY_RESEND`), and
//! nobody knows whether they were done.
//!
//! Most can be done twice. Of the others, what was made is there, what was to be removed is gone: the
//! kernel has looked before it asked, and keeps others on this mount out of the directory until it has
//! its answer. Only somebody who did the same below in the same moment is taken for the daemon that died.

use super::{
    Passthrough,
    lookup::Keep,
    names::{take_name, without_extensions},
};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use rustix::fs::{AtFlags, RenameFlags, StatxFlags};
use std::os::fd::AsFd;
use transport::wire::{InHeader, LinkIn, Opcode, Rename2In, SetxattrIn, WriteIn};

/// `FUSE_UNIQUE_RESEND` (include/uapi/linux/fuse.h).
const RESENT: u64 = 1 << 63;

/// Whether the kernel has sent this request before.
pub(super) fn is_resent(header: &InHeader) -> bool {
    header.unique & RESENT != 0
}

impl Passthrough {
    /// Rules have come into force, or there are none: what each inode is shown by is not recorded.
    pub(super) fn record_rules(&self, none: bool) {
        if let (Some(ledger), false) = (&self.ledger, none) {
            ledger.give_up();
        }
    }

    /// A request that was sent before may have been done before.
    pub(super) fn dispatch_again(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        if !is_resent(exchange.header()) {
            return self.dispatch(thread, exchange);
        }
        if let Some(errno) = self.refused_again(exchange) {
            return Err(errno);
        }
        self.dispatch(thread, exchange)
            .or_else(|errno| self.done_before(exchange, errno))
    }

    /// What a resent request is to be refused with before it is tried, if it is.
    fn refused_again(&self, exchange: &(dyn Exchange + '_)) -> Option<Errno> {
        let Ok(Rename2In { flags, .. }) = exchange.arg::<Rename2In>() else {
            return None;
        };
        let flags = RenameFlags::from_bits_retain(flags);
        // Done twice it is undone.
        let exchanges = exchange.header().opcode == Opcode::RENAME2
            && flags.intersects(RenameFlags::EXCHANGE | RenameFlags::WHITEOUT);
        exchanges.then_some(Errno::IO)
    }

    /// The answer to a resent request that failed with `errno`, because it had been done.
    fn done_before(&self, exchange: &mut (dyn Exchange + '_), errno: Errno) -> Answer {
        match (exchange.header().opcode, errno) {
            (Opcode::MKDIR | Opcode::MKNOD | Opcode::SYMLINK, Errno::EXIST) => {
                let parent = self.inode(exchange.header().nodeid)?;
                let dir = self.path_fd(&parent)?;
                let mut rest = without_extensions(exchange.header(), exchange.payload())?;
                let name = take_name(&mut rest)?;
                let found = self.find_in(&parent, dir.as_fd(), name, Keep::Cached)?;
                exchange.reply(&self.entry(&found))
            }
            (Opcode::LINK, Errno::EXIST) => {
                let LinkIn { oldnodeid } = exchange.arg()?;
                let old = self.inode(oldnodeid)?;
                let parent = self.inode(exchange.header().nodeid)?;
                let dir = self.path_fd(&parent)?;
                let mut rest = without_extensions(exchange.header(), exchange.payload())?;
                let name = take_name(&mut rest)?;
                let there = self.lower.open_name(dir.as_fd(), name)?;
                if !old.matches(&self.lower.stat_fd(there.as_fd())?) {
                    return Err(Errno::EXIST);
                }
                let fd = self.path_fd(&old)?;
                let found = self.find_itself(&old, fd.as_fd())?;
                exchange.reply(&self.entry(&found))
            }
            (Opcode::UNLINK | Opcode::RMDIR, Errno::NOENT)
            | (Opcode::REMOVEXATTR, Errno::NODATA) => Ok(Body::Empty),
            (Opcode::SETXATTR, Errno::EXIST) => {
                let _: SetxattrIn = exchange.arg()?;
                Ok(Body::Empty)
            }
            (Opcode::RENAME | Opcode::RENAME2, Errno::NOENT | Errno::EXIST) => {
                let parent = self.inode(exchange.header().nodeid)?;
                let dir = self.path_fd(&parent)?;
                let mut rest = without_extensions(exchange.header(), exchange.payload())?;
                let old = take_name(&mut rest)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                match rustix::fs::statx(&*dir, old, flags, StatxFlags::INO) {
                    Err(Errno::NOENT) => Ok(Body::Empty),
                    _ => Err(errno),
                }
            }
            _ => Err(errno),
        }
    }

    /// Whether the bytes of a resent WRITE that appends, or the first of them, lie already where the
    /// kernel saw the end of the file: then they are to be written there, once more.
    pub(super) fn appended_before(
        &self,
        exchange: &(dyn Exchange + '_),
        file: std::os::fd::BorrowedFd<'_>,
        request: &WriteIn,
    ) -> bool {
        if !is_resent(exchange.header()) {
            return false;
        }
        let Some(wanted) = exchange.payload().get(..request.size as usize) else {
            return false;
        };
        let mut there = vec![0; wanted.len()];
        // A file that is open for writing alone can be read by another descriptor.
        let read = super::proc_fd::reopen(file, rustix::fs::OFlags::RDONLY)
            .and_then(|file| rustix::io::pread(file, &mut there, request.offset));
        matches!(read, Ok(len) if len > 0 && there[..len] == wanted[..len])
    }
}
