//! LSEEK, FALLOCATE, COPY_FILE_RANGE: where a file has data, and moving it about.

use super::{
    Passthrough, caller::Caller, creds::ActingAs, open_file::OpenFile, privileges::changing,
};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use std::os::fd::AsFd;
use transport::wire::{
    CopyFileRangeIn, CopyFileRangeOut, FallocateIn, InHeader, LseekIn, LseekOut, Opcode, WriteOut,
};

/// What one COPY_FILE_RANGE copies at most, in bytes: 64 MiB. More would hold up a serving thread
/// for too long; callers go on where a copy ended (copy_file_range(2)). A multiple of every block
/// size, so that the pieces of an aligned range can be shared as the whole could.
const COPY_MAX: u64 = 64 << 20;

impl Passthrough {
    /// LSEEK to data or to a hole: the kernel does the rest by itself. The offset of the lower
    /// file moves, and nobody uses it.
    pub(super) fn lseek(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let request: LseekIn = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let open = self.open_file(nodeid, request.fh, OFlags::RDONLY)?;
        // Beyond what a file can have: the kernel's own answer is that there is nothing.
        if i64::try_from(request.offset).is_err() {
            return Err(Errno::NXIO);
        }
        let to = match request.whence as i32 {
            libc::SEEK_DATA => SeekFrom::Data(request.offset),
            libc::SEEK_HOLE => SeekFrom::Hole(request.offset),
            _ => return Err(Errno::INVAL),
        };
        let offset = rustix::fs::seek(&*open, to)?;
        exchange.reply(&LseekOut { offset })
    }

    /// FALLOCATE, in every mode that the lower file system knows.
    pub(super) fn fallocate(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: FallocateIn = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let open = self.open_file(nodeid, request.fh, OFlags::WRONLY)?;
        let caller = self.caller_about(exchange.header());
        let _acting = changing_as_caller(thread, &caller, &open)?;
        let mode = FallocateFlags::from_bits_retain(request.mode);
        rustix::fs::fallocate(&*open, mode, request.offset, request.length)?;
        Ok(Body::Empty)
    }

    /// COPY_FILE_RANGE, and COPY_FILE_RANGE_64, whose answer has 64 bits.
    pub(super) fn copy_file_range(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: CopyFileRangeIn = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let source = self.open_file(nodeid, request.fh_in, OFlags::RDONLY)?;
        let target = self.open_file(request.nodeid_out, request.fh_out, OFlags::WRONLY)?;
        if request.flags != 0 {
            return Err(Errno::INVAL);
        }
        // By the rules of what is changed.
        let about = InHeader {
            nodeid: request.nodeid_out,
            ..*exchange.header()
        };
        let caller = self.caller_about(&about);
        let acting = changing_as_caller(thread, &caller, &target)?;
        let (mut from, mut to) = (request.off_in, request.off_out);
        let len = request.len.min(COPY_MAX) as usize;
        let copied =
            rustix::fs::copy_file_range(&*source, Some(&mut from), &*target, Some(&mut to), len)?;
        drop(acting);
        if exchange.header().opcode == Opcode::COPY_FILE_RANGE_64 {
            return exchange.reply(&CopyFileRangeOut {
                bytes_copied: copied as u64,
            });
        }
        exchange.reply(&WriteOut {
            // At most COPY_MAX.
            size: copied as u32,
            padding: 0,
        })
    }
}

/// These change a file as a write does, but their requests do not say whether the caller has
/// CAP_FSETID: root is taken to have it, and nobody else.
fn changing_as_caller<'a>(
    thread: &'a mut ServeThread,
    caller: &Caller,
    open: &OpenFile,
) -> Result<Option<ActingAs<'a>>, Errno> {
    changing(&mut thread.creds, caller, caller.is_root, open.as_fd())
}
