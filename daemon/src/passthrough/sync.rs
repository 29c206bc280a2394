//! FLUSH, FSYNC, SYNCFS.

use super::{Passthrough, inode::Inode, open_file::OpenFile};
use crate::fuse::{Answer, Body, Errno, Exchange};
use rustix::fs::OFlags;
use std::sync::Arc;
use transport::wire::{FlushIn, FsyncFlags, FsyncIn, SyncfsIn};

impl Passthrough {
    /// FLUSH: an application closes a descriptor. A descriptor of the lower file is closed as
    /// well, since that is when some file systems report what went wrong in writing back, unless this
    /// one is known to do nothing then; and what the application has locked by fcntl(2) is given up.
    pub(super) fn flush(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        if self.config.no_open {
            return Err(Errno::NOSYS);
        }
        let request: FlushIn = exchange.arg()?;
        let open = self.files.get(request.fh).ok_or(Errno::BADF)?;
        let untold = |inode: Arc<Inode>| inode.mount().closes_untold();
        let closed = if self.inode(open.nodeid()).is_ok_and(untold) {
            Ok(())
        } else {
            self.close_another(&open)
        };
        // As in `filp_flush` (fs/open.c) an error does not keep the locks.
        self.locks.release_owner(open.nodeid(), request.lock_owner);
        closed.map(|()| Body::Empty)
    }

    /// Closes a descriptor of the lower file that is not the last.
    fn close_another(&self, open: &OpenFile) -> Result<(), Errno> {
        let duplicate = self.retry_on_emfile(|| rustix::io::fcntl_dupfd_cloexec(open, 0))?;
        nix::unistd::close(duplicate).map_err(|e| Errno::from_raw_os_error(e as i32))
    }

    /// FSYNC, of data and attributes or of data.
    pub(super) fn fsync(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let request: FsyncIn = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let open = self.open_file(nodeid, request.fh, OFlags::RDONLY)?;
        if request.fsync_flags.contains(FsyncFlags::FDATASYNC) {
            rustix::fs::fdatasync(&*open)?;
        } else {
            rustix::fs::fsync(&*open)?;
        }
        Ok(Body::Empty)
    }

    /// SYNCFS, of the lower file system that the inode is on.
    pub(super) fn syncfs(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let SyncfsIn { .. } = exchange.arg()?;
        let inode = self.inode(exchange.header().nodeid)?;
        let file = self.reopen(&inode, OFlags::RDONLY | OFlags::NONBLOCK)?;
        rustix::fs::syncfs(&file)?;
        Ok(Body::Empty)
    }
}
