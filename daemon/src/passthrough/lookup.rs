//! From a directory and a name, or from a descriptor, to an inode with its lookup counted.
//!
//! In a private tree a known inode takes two system calls and no descriptor: its handle by name,
//! and its attributes by name. Between the two the name may have gone to another file; the
//! attributes are taken for the inode's only if number, device and type are its own, and else
//! (as for an inode that is not known) both are asked of one `O_PATH` descriptor.

use super::{
    Passthrough, attr,
    file_handle::FileHandle,
    inode::{FdSlot, Identity, Inode, device_of, kind_of},
    mount_fd::LowerMount,
    names,
};
use crate::fuse::{Answer, Errno, Exchange};
use rustix::fs::{FileType, Statx};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use transport::wire::EntryOut;

/// What becomes of the descriptor that a lookup had to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// The inode is about to be used: into the cache.
    Cached,
    /// One of many in a listing: the cache is for others.
    Closed,
}

/// An inode and its attributes; the kernel is to be told of it, for its lookup is counted.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) inode: Arc<Inode>,
    pub(super) stat: Statx,
}

impl Passthrough {
    /// LOOKUP.
    pub(super) fn lookup(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let parent = self.inode(exchange.header().nodeid)?;
        let name = names::only_name(exchange)?;
        match self.find_name(&parent, name, Keep::Cached) {
            Ok(found) => exchange.reply(&self.entry(&found)),
            Err(Errno::NOENT) if !self.ttl().is_zero() => {
                exchange.reply(&attr::negative_entry_out(self.ttl()))
            }
            Err(errno) => Err(errno),
        }
    }

    /// The inode of `name` in `parent`, its lookup counted.
    pub(super) fn find_name(
        &self,
        parent: &Arc<Inode>,
        name: &CStr,
        keep: Keep,
    ) -> Result<Found, Errno> {
        let dir = self.path_fd(parent)?;
        self.find_in(parent, dir.as_fd(), name, keep)
    }

    /// As [`find_name`](Self::find_name), with a descriptor of `parent`.
    pub(super) fn find_in(
        &self,
        parent: &Inode,
        dir: BorrowedFd<'_>,
        name: &CStr,
        keep: Keep,
    ) -> Result<Found, Errno> {
        if self.lower.is_private_tree()
            && let Some(found) = self.find_known(dir, name)?
        {
            return Ok(found);
        }
        let fd = self.retry_on_emfile(|| self.lower.open_name(dir, name))?;
        self.find_fd(parent, fd, keep)
    }

    /// The reply for an inode that was just made and opened: `fd` is of it. Its lookup is counted;
    /// whoever does not send the reply must [`forget`](super::inode_store::InodeStore::forget) it.
    ///
    /// # Errors
    ///
    /// Those of name_to_handle_at(2) and statx(2); `EMFILE`.
    pub(super) fn entry_of_open(
        &self,
        parent: &Inode,
        fd: BorrowedFd<'_>,
    ) -> Result<EntryOut, Errno> {
        let (identity, mount, stat) = self.identify(fd)?;
        let inode = self.inodes.find_or_add(identity, |nodeid, identity| {
            let slot = match &identity {
                Identity::Handle { .. } => FdSlot::Absent,
                Identity::Number { .. } => {
                    let path_fd = self.path_fd_of(fd)?;
                    FdSlot::Held(Arc::new(path_fd), self.fds.permit()?)
                }
            };
            Ok(new_inode(nodeid, identity, mount, parent, &stat, slot))
        })?;
        Ok(self.entry(&Found { inode, stat }))
    }

    /// The reply that tells the kernel of `found`.
    pub(super) fn entry(&self, found: &Found) -> EntryOut {
        let flags = attr::flags_of(&found.inode, &found.stat, self.submounts());
        attr::entry_out(&found.inode, &found.stat, flags, self.ttl())
    }

    /// The inode of `name` if it is known, without opening anything.
    fn find_known(&self, dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<Found>, Errno> {
        let Some((identity, _)) = self.identity_of_name(dir, name)? else {
            return Ok(None);
        };
        if self.inodes.peek(&identity).is_none() {
            return Ok(None);
        }
        let stat = self.lower.stat_name(dir, name)?;
        let inode = self.inodes.find(&identity, |inode| inode.matches(&stat));
        Ok(inode.map(|inode| Found { inode, stat }))
    }

    /// The identity of `name` by its handle, if its mount has been seen and uses handles. Only in
    /// a private tree.
    pub(super) fn identity_of_name(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<Option<(Identity, Arc<LowerMount>)>, Errno> {
        let unique = self.lower.mounts().unique_ids();
        let (handle, id) = match FileHandle::of(dir, name, unique) {
            Ok(found) => found,
            Err(Errno::OPNOTSUPP | Errno::OVERFLOW) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let mount = self
            .lower
            .mounts()
            .get(id)
            .filter(|mount| mount.handle_fd().is_some());
        Ok(mount.map(|mount| (Identity::Handle { mount: id, handle }, mount)))
    }

    /// The inode of `fd`, an `O_PATH` descriptor, its lookup counted.
    fn find_fd(&self, parent: &Inode, fd: OwnedFd, keep: Keep) -> Result<Found, Errno> {
        let (identity, mount, stat) = self.identify(fd.as_fd())?;
        let mut fd = Some(fd);
        let inode = self.inodes.find_or_add(identity, |nodeid, identity| {
            let slot = match &identity {
                Identity::Handle { .. } => FdSlot::Absent,
                Identity::Number { .. } => {
                    let permit = self.fds.permit()?;
                    let fd = fd.take().ok_or(Errno::IO)?;
                    FdSlot::Held(Arc::new(fd), permit)
                }
            };
            Ok(new_inode(nodeid, identity, mount, parent, &stat, slot))
        })?;
        if keep == Keep::Cached
            && let Some(fd) = fd
        {
            self.fds.admit(&inode, fd);
        }
        Ok(Found { inode, stat })
    }

    /// Who `fd` is.
    fn identify(&self, fd: BorrowedFd<'_>) -> Result<(Identity, Arc<LowerMount>, Statx), Errno> {
        identify(&self.lower, fd)
    }
}

/// Who `fd` is, on which mount, and its attributes.
pub(super) fn identify(
    lower: &super::lower::Lower,
    fd: BorrowedFd<'_>,
) -> Result<(Identity, Arc<LowerMount>, Statx), Errno> {
    let mounts = lower.mounts();
    let handle = match FileHandle::of(fd, c"", mounts.unique_ids()) {
        Ok((handle, id)) => Some((handle, id)),
        Err(Errno::OPNOTSUPP | Errno::OVERFLOW) => None,
        Err(errno) => return Err(errno),
    };
    let stat = lower.stat_fd(fd)?;
    let id = handle.as_ref().map_or(stat.stx_mnt_id, |(_, id)| *id);
    let handle = handle.map(|(handle, _)| handle);
    let mount = mounts.get_or_add(id, fd, handle.as_ref(), &stat)?;
    let identity = match handle {
        Some(handle) if mount.handle_fd().is_some() => Identity::Handle { mount: id, handle },
        _ => Identity::Number {
            mount: id,
            device: device_of(&stat),
            number: stat.stx_ino,
        },
    };
    Ok((identity, mount, stat))
}

fn new_inode(
    nodeid: u64,
    identity: Identity,
    mount: Arc<LowerMount>,
    parent: &Inode,
    stat: &Statx,
    slot: FdSlot,
) -> Inode {
    let elsewhere = mount.id() != parent.mount().id() || device_of(stat) != parent.device();
    let submount = elsewhere && kind_of(stat) == FileType::Directory;
    Inode::new(nodeid, identity, mount, stat, submount, slot)
}
