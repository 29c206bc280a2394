//! Files without OPEN: what `--no-open` changes.
//!
//! OPEN is answered `ENOSYS`, once: from then on the kernel opens and closes files by itself, keeps
//! their pages, and sends neither OPEN nor FLUSH nor RELEASE (`fuse_file_open`, fs/fuse/file.c). What
//! it does ask about an open file comes with the handle 0, which no file of ours has, and is done on the
//! inode, opened for that one request: a descriptor that stayed would stand in the way of those who
//! execute the lower file, or hold a lease on it. Files that CREATE and TMPFILE make get no handle
//! either: of these some kernels send a RELEASE, and others do not.
//!
//! What cannot be had that way is not agreed on at INIT: truncation by OPEN, which comes as a SETATTR
//! instead, and locks of the lower file, which FLUSH and RELEASE would give up
//! (`fuse::capabilities`).

use super::{Passthrough, backing_table::DataPath, open_file::OpenFile};
use crate::fuse::Errno;
use rustix::fs::OFlags;
use std::{fs::File, os::fd::AsFd, sync::Arc};
use transport::wire::{EntryOut, FopenFlags, OpenOut};

/// The handle of a file that the kernel opened by itself.
const NO_HANDLE: u64 = 0;

impl Passthrough {
    /// The open file that a request is about: the one its handle names; on a mount without OPEN,
    /// the inode, opened for `access` (the access mode and the status flags).
    ///
    /// # Errors
    ///
    /// `EBADF` if `fh` names none; `ESTALE` if the lower inode is gone, and what open(2) says.
    pub(super) fn open_file(
        &self,
        nodeid: u64,
        fh: u64,
        access: OFlags,
    ) -> Result<Arc<OpenFile>, Errno> {
        if !self.is_by_nodeid(fh) {
            return self.files.get(fh).ok_or(Errno::BADF);
        }
        let inode = self.inode(nodeid)?;
        inode.check_regular()?;
        let file = File::from(self.reopen(&inode, access)?);
        Ok(Arc::new(OpenFile::new(
            nodeid,
            file,
            access,
            DataPath::Copy,
        )))
    }

    /// The open file of a request that can do without one.
    ///
    /// # Errors
    ///
    /// `EBADF` if `fh` names none.
    pub(super) fn open_file_if_any(&self, fh: u64) -> Result<Option<Arc<OpenFile>>, Errno> {
        if self.is_by_nodeid(fh) {
            return Ok(None);
        }
        self.files.get(fh).map(Some).ok_or(Errno::BADF)
    }

    /// The reply for a file that was just made, which is not kept open.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the file has no name, and there may be no more such.
    pub(super) fn made_without_handle(
        &self,
        entry: &EntryOut,
        file: &File,
    ) -> Result<OpenOut, Errno> {
        let held = self.keep_unnamed(entry, file);
        if held.is_err() {
            self.inodes.forget(entry.nodeid, 1);
        }
        held.map(|()| OpenOut {
            fh: NO_HANDLE,
            open_flags: FopenFlags::KEEP_CACHE,
            backing_id: 0,
        })
    }

    /// A file without a name lives as long as somebody holds it.
    fn keep_unnamed(&self, entry: &EntryOut, file: &File) -> Result<(), Errno> {
        if entry.attr.nlink > 0 {
            return Ok(());
        }
        let inode = self.inode(entry.nodeid)?;
        let fd = Arc::new(self.path_fd_of(file.as_fd())?);
        self.fds.hold(&inode, fd).then_some(()).ok_or(Errno::MFILE)
    }

    /// Whether `fh` is that of a file which the kernel opened by itself.
    pub(super) fn is_by_nodeid(&self, fh: u64) -> bool {
        self.config.no_open && fh == NO_HANDLE
    }
}
