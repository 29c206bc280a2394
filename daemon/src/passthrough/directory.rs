//! Listings: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.

use super::{
    Passthrough,
    facts::Stamps,
    inode::Inode,
    ledger::{Kind, file},
    lookup::Keep,
    open_directory::{Entry, OpenDirectory},
};
use crate::fuse::{Answer, Body, Errno, Exchange};
use rustix::{fs::OFlags, io::retry_on_intr};
use std::{
    cell::OnceCell,
    os::fd::{AsFd, AsRawFd as _},
    sync::Arc,
};
use transport::wire::{
    Dirent, EntryOut, FopenFlags, FsyncFlags, FsyncIn, OpenOut, ReadIn, ReleaseIn,
};

/// The handle of a directory that the kernel opened by itself.
const NO_HANDLE: u64 = 0;

impl Passthrough {
    /// OPENDIR.
    pub(super) fn opendir(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        if self.lists_by_nodeid() {
            return Err(Errno::NOSYS);
        }
        let inode = self.inode(exchange.header().nodeid)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let directory = Arc::new(OpenDirectory::new(self.reopen(&inode, flags)?));
        let fh = self.directories.insert(Arc::clone(&directory));
        let fh = fh.ok_or(Errno::NFILE)?;
        if let Some(ledger) = &self.ledger {
            let words = [
                (file::HANDLE, fh),
                (file::NODEID, inode.nodeid()),
                (file::FD, directory.as_fd().as_raw_fd() as u64),
            ];
            directory.record(ledger.add(Kind::Directory, &words));
        }
        self.prefetch.opened(inode.nodeid());
        // The kernel keeps a listing until the directory's mtime changes, which it knows as late
        // as attributes expire (`fuse_readdir_cached`, fs/fuse/readdir.c).
        let open_flags = if self.name_validity(inode.device()).is_zero() {
            FopenFlags::empty()
        } else {
            FopenFlags::CACHE_DIR | FopenFlags::KEEP_CACHE
        };
        exchange.reply(&OpenOut {
            fh,
            open_flags,
            backing_id: 0,
        })
    }

    /// Whether the kernel opens directories by itself: OPENDIR is answered `ENOSYS`, once, and from then
    /// on it sends neither OPENDIR nor RELEASEDIR, and keeps listings (`fuse_file_open`,
    /// fs/fuse/file.c). That is as good where each change of any directory is reported, and where the
    /// kernel itself checks who may list.
    fn lists_by_nodeid(&self) -> bool {
        self.config.mount.default_permissions
            && self
                .coherence
                .as_ref()
                .is_some_and(|coherence| coherence.covers_everything())
    }

    /// The open directory that a request is about: the one its handle names; or the inode, opened for
    /// that one request. Offsets are the lower file system's own, and mean the same in each.
    ///
    /// # Errors
    ///
    /// `EBADF` if `fh` names none; `ENOENT` if the directory was removed, as of one that is open.
    fn open_directory(&self, nodeid: u64, fh: u64) -> Result<Arc<OpenDirectory>, Errno> {
        if fh != NO_HANDLE || !self.lists_by_nodeid() {
            return self.directories.get(fh).ok_or(Errno::BADF);
        }
        let inode = self.inode(nodeid)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        match self.reopen(&inode, flags) {
            Ok(fd) => Ok(Arc::new(OpenDirectory::new(fd))),
            Err(Errno::STALE) => Err(Errno::NOENT),
            Err(errno) => Err(errno),
        }
    }

    /// READDIR.
    pub(super) fn readdir(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let inode = self.inode(exchange.header().nodeid)?;
        self.list(exchange, |_, _, listing, entry| {
            let room = listing.take(Dirent::padded_len(entry.name.count_bytes()));
            room.map(|room| Self::write_dirent(room, &inode, entry))
        })
    }

    /// READDIRPLUS.
    pub(super) fn readdirplus(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let inode = self.inode(exchange.header().nodeid)?;
        // Taken when the first entry has been read, for reading moves the directory's access time.
        let stamps = OnceCell::new();
        let ReadIn { fh, offset, .. } = exchange.arg()?;
        let is_first = offset == 0;
        self.prefetch.demand(inode.nodeid());
        // Where the kernel opens directories by itself a listing is all that is heard of it.
        if is_first && fh == NO_HANDLE {
            self.prefetch.opened(inode.nodeid());
        }
        let mut directories = Vec::new();
        let answer = self.list(exchange, |_, directory, listing, entry| {
            // Only what fits is looked up: a lookup is counted once it is answered.
            let len = Dirent::plus_padded_len(entry.name.count_bytes());
            let room = listing.take(len)?;
            let (plus, rest) = room.split_at_mut(size_of::<EntryOut>());
            let stamps = || *stamps.get_or_init(|| self.stamps_of_names(&inode));
            let out = self.entry_in_listing(&inode, stamps, directory, entry);
            plus.copy_from_slice(bytemuck::bytes_of(&out));
            Self::write_dirent(rest, &inode, entry);
            if entry.is_directory() && out.nodeid != 0 {
                directories.push(out.nodeid);
            }
            Some(())
        });
        self.prefetch.listed(inode.nodeid(), is_first, &directories);
        if let Ok(Body::Out(0)) = &answer {
            self.prefetch.closed(inode.nodeid());
        }
        answer
    }

    /// RELEASEDIR.
    pub(super) fn releasedir(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let ReleaseIn { fh, .. } = exchange.arg()?;
        self.directories.remove(fh).ok_or(Errno::BADF)?;
        self.prefetch.closed(exchange.header().nodeid);
        Ok(Body::Empty)
    }

    /// FSYNCDIR.
    pub(super) fn fsyncdir(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let FsyncIn {
            fh, fsync_flags, ..
        } = exchange.arg()?;
        let directory = self.open_directory(exchange.header().nodeid, fh)?;
        if fsync_flags.contains(FsyncFlags::FDATASYNC) {
            retry_on_intr(|| rustix::fs::fdatasync(&*directory))?;
        } else {
            retry_on_intr(|| rustix::fs::fsync(&*directory))?;
        }
        Ok(Body::Empty)
    }

    /// Fills the reply with entries by `write`, which says `None` when one does not fit.
    fn list(
        &self,
        exchange: &mut (dyn Exchange + '_),
        mut write: impl FnMut(&Self, &OpenDirectory, &mut Listing<'_>, &Entry<'_>) -> Option<()>,
    ) -> Answer {
        let ReadIn {
            fh, offset, size, ..
        } = exchange.arg()?;
        let directory = self.open_directory(exchange.header().nodeid, fh)?;
        let mut entries = directory.entries();
        entries.seek(&directory, offset)?;
        let out = exchange.out();
        let size = out.len().min(size as usize);
        let mut listing = Listing {
            out: &mut out[..size],
            len: 0,
        };
        loop {
            let next = match entries.peek(&directory) {
                Ok(next) => next,
                // What is in the reply already is counted: the error comes with the next request.
                Err(_) if listing.len > 0 => break,
                Err(errno) => return Err(errno),
            };
            let Some(entry) = next else { break };
            if write(self, &directory, &mut listing, &entry).is_none() {
                if listing.len == 0 {
                    // An empty reply would mean the end of the directory.
                    return Err(Errno::INVAL);
                }
                break;
            }
            entries.advance()?;
        }
        Ok(Body::Out(listing.len))
    }

    /// What the kernel is told of an entry. One that cannot be looked up is listed all the same:
    /// nodeid 0 says that there are no attributes. So are names whose lookup is refused, and "." and "..", whose lookups the kernel
    /// does not count (`fuse_direntplus_link`, fs/fuse/readdir.c).
    fn entry_in_listing(
        &self,
        parent: &Inode,
        stamps: impl FnOnce() -> Option<Stamps>,
        directory: &OpenDirectory,
        entry: &Entry<'_>,
    ) -> EntryOut {
        if matches!(entry.name.to_bytes(), b"." | b"..") || self.is_refused(entry.name) {
            return EntryOut::default();
        }
        let found = match self.find_in_facts(parent, entry.name) {
            Some(found) => Ok(found),
            None => {
                let dir = directory.as_fd();
                self.find_and_cache(parent, stamps(), dir, entry.name, Keep::Closed)
            }
        };
        found.map_or_else(|_| EntryOut::default(), |found| self.entry(&found))
    }

    fn write_dirent(room: &mut [u8], parent: &Inode, entry: &Entry<'_>) {
        let name = entry.name.to_bytes();
        let head = Dirent {
            ino: parent.shown_number(entry.number),
            off: entry.next,
            namelen: name.len() as u32,
            kind: u32::from(entry.kind),
        };
        let (to_head, rest) = room.split_at_mut(size_of::<Dirent>());
        to_head.copy_from_slice(bytemuck::bytes_of(&head));
        let (to_name, padding) = rest.split_at_mut(name.len());
        to_name.copy_from_slice(name);
        padding.fill(0);
    }
}

/// The reply as it fills up.
struct Listing<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Listing<'_> {
    /// The next `len` bytes of it; `None` if it is full.
    fn take(&mut self, len: usize) -> Option<&mut [u8]> {
        let room = self.out.get_mut(self.len..self.len + len)?;
        self.len += len;
        Some(room)
    }
}
