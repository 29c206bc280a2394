//! READ, WRITE, POLL.

use super::{
    Passthrough,
    caller::Caller,
    open_file::{CHANGEABLE, OpenFile},
    privileges::changing,
};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::OFlags,
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};
use transport::wire::{PollIn, PollOut, ReadIn, WriteFlags, WriteIn, WriteOut};

impl Passthrough {
    /// READ: the transport reads the lower file straight into the memory it sends from.
    pub(super) fn read(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let request: ReadIn = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let open = self.open_file(nodeid, request.fh, access(OFlags::RDONLY, request.flags))?;
        open.follow(request.flags)?;
        Ok(Body::File {
            file: Arc::clone(open.file()),
            offset: request.offset,
            len: (request.size as usize).min(exchange.out().len()),
        })
    }

    /// WRITE.
    ///
    /// The kernel says whether the writer lacks CAP_FSETID (`FUSE_HANDLE_KILLPRIV_V2`); the lower
    /// file system then clears suid and sgid because this thread lacks it, too. File capabilities
    /// it clears in any case (`file_remove_privs`, fs/inode.c).
    pub(super) fn write(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: WriteIn = exchange.arg()?;
        let is_write_back = request.write_flags.contains(WriteFlags::CACHE);
        let flags = match (is_write_back, self.writes_back()) {
            (true, _) => 0,
            // The kernel has found the end, of which the lower file may not know yet.
            (false, true) => request.flags & !OFlags::APPEND.bits(),
            (false, false) => request.flags,
        };
        let nodeid = exchange.header().nodeid;
        let open = self.open_file(nodeid, request.fh, access(OFlags::WRONLY, flags))?;
        let count = if is_write_back {
            // Pages that were written through a mapping: that clears nothing, and the flags are
            // nobody's.
            thread.creds.with_fsetid()?;
            let file = open.write_back()?;
            exchange.write_to(file, request.offset, request.size as usize)?
        } else {
            open.follow(flags)?;
            let appends = OFlags::from_bits_retain(flags).contains(OFlags::APPEND);
            let again = appends && self.appended_before(exchange, open.as_fd(), &request);
            let file = if again {
                open.write_back()?
            } else {
                open.as_fd()
            };
            let count = {
                let caller = self.caller_about(exchange.header());
                let mut write = || write_as_caller(thread, exchange, &caller, file, &request);
                match appends && !again {
                    true => self.in_turn(&open, &request, write)?,
                    false => write()?,
                }
            };
            make_durable(&open, request.flags)?;
            count
        };
        exchange.reply(&WriteOut {
            // At most `request.size`.
            size: count as u32,
            padding: 0,
        })
    }

    /// POLL: what poll(2) says of the lower file at this moment. A regular file is always ready;
    /// nobody is to be told when it becomes so.
    pub(super) fn poll(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let request: PollIn = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let open = self.open_file(nodeid, request.fh, OFlags::RDONLY)?;
        let events = PollFlags::from_bits_retain(request.events as u16);
        let mut fds = [PollFd::new(&*open, events)];
        rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
        exchange.reply(&PollOut {
            revents: u32::from(fds[0].revents().bits()),
            padding: 0,
        })
    }
}

/// The access mode, and what a READ or WRITE says of its file's status flags.
fn access(mode: OFlags, flags: u32) -> OFlags {
    mode | OFlags::from_bits_retain(flags) & CHANGEABLE
}

fn write_as_caller(
    thread: &mut ServeThread,
    exchange: &mut (dyn Exchange + '_),
    caller: &Caller,
    file: BorrowedFd<'_>,
    request: &WriteIn,
) -> Result<usize, Errno> {
    let keeps = !request.write_flags.contains(WriteFlags::KILL_SUIDGID);
    let _acting = changing(&mut thread.creds, caller, keeps, file)?;
    exchange.write_to(file, request.offset, request.size as usize)
}

/// One write is to be durable though the file was not opened so (`RWF_DSYNC`, or a mount option
/// `sync` above): the lower file knows nothing of it.
fn make_durable(open: &OpenFile, flags: u32) -> Result<(), Errno> {
    let flags = OFlags::from_bits_retain(flags);
    let missing = (flags & OFlags::SYNC).difference(open.flags());
    if missing.is_empty() {
        Ok(())
    } else if missing == OFlags::DSYNC {
        rustix::fs::fdatasync(open)
    } else {
        rustix::fs::fsync(open)
    }
}
