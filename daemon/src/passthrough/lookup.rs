//! From a directory and a name, or from a descriptor, to an inode with its lookup counted.
//!
//! In a private tree a name is first turned into a file handle. If that is a known inode's, its
//! attributes are asked of its cached descriptor; else the handle is opened. Either way they are
//! of the inode that the handle names, whatever happens to the name meanwhile. Only for a known
//! inode without a descriptor are they asked by name, which spares opening it, and taken if
//! number, device and type are the inode's own.

use super::{
    Passthrough, attr,
    facts::{Basis, Stamps},
    file_handle::FileHandle,
    inode::{FdSlot, Identity, Inode, Place, device_of, kind_of},
    mount_fd::LowerMount,
    names::{self, LookupName},
};
use crate::{
    fuse::{Answer, Errno, Exchange},
    rules::serving::Rules,
};
use rustix::fs::{FileType, Statx};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use transport::wire::{Attr, AttrFlags, EntryOut, InitFlags, ROOT_ID};

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
    /// As the kernel is told them.
    pub(super) attr: Attr,
    /// What these rest on.
    pub(super) basis: Basis,
}

impl Passthrough {
    /// LOOKUP.
    pub(super) fn lookup(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let parent = self.inode(exchange.header().nodeid)?;
        let dir = self.path_fd(&parent)?;
        let found = match names::lookup_name(exchange)? {
            LookupName::Entry(name) if let Some(errno) = self.denied(name) => return Err(errno),
            LookupName::Entry(name) => {
                self.prefetch.looked_up(parent.nodeid());
                match self.find_by_name(&parent, dir.as_fd(), name) {
                    Some(found) => Ok(found),
                    None => {
                        let stamps = self.stamps_of_names(&parent);
                        self.find_and_cache(&parent, stamps, dir.as_fd(), name, Keep::Cached)
                    }
                }
            }
            LookupName::Itself => self.find_itself(&parent, dir.as_fd()),
            LookupName::Parent => self.find_parent(&parent, dir.as_fd()),
        };
        match found {
            Ok(found) => exchange.reply(&self.entry(&found)),
            Err(Errno::NOENT) => match self.name_validity(parent.device()) {
                Duration::ZERO => Err(Errno::NOENT),
                ttl => exchange.reply(&attr::negative_entry_out(ttl)),
            },
            Err(errno) => Err(errno),
        }
    }

    /// What a lookup of `name` is refused with, if it is.
    pub(super) fn denied(&self, name: &CStr) -> Option<Errno> {
        let deny = &self.config.deny;
        let denied = deny.iter().find(|denied| denied.name == name.to_bytes())?;
        Some(Errno::from_raw_os_error(denied.errno))
    }

    /// Whether a lookup of `name` may be refused: then its entry is not told with a listing.
    pub(super) fn is_refused(&self, name: &CStr) -> bool {
        let by_rule = |rules: &Arc<Rules>| rules.speaks_of(name.to_bytes());
        self.denied(name).is_some() || self.rules.get().is_some_and(by_rule)
    }

    /// As [`find_in`](Self::find_in), and makes facts of what is found. `stamps` are
    /// [`stamps_of_names`](Self::stamps_of_names) of the directory.
    pub(super) fn find_and_cache(
        &self,
        parent: &Inode,
        stamps: Option<Stamps>,
        dir: BorrowedFd<'_>,
        name: &CStr,
        keep: Keep,
    ) -> Result<Found, Errno> {
        let mut found = self.find_in(parent, dir, name, keep);
        match &mut found {
            Ok(found) => {
                self.stamp_found(found);
                self.fill_name(parent, stamps, name, Some(found));
            }
            Err(Errno::NOENT) => self.fill_name(parent, stamps, name, None),
            Err(_) => {}
        }
        found
    }

    /// Attributes that were read without a stamp, or with one that is over, are read once more.
    fn stamp_found(&self, found: &mut Found) {
        let is_good = match found.basis {
            Basis::Look => false,
            Basis::Stamped(stamps) => self.has_held(&found.inode, stamps),
            Basis::Fact => true,
        };
        if is_good {
            return;
        }
        let Some(stamps) = self.stamps_of(&found.inode) else {
            return;
        };
        // After the stamps: what is answered by them is to be revoked when they are over.
        self.watch(&found.inode, None);
        if let Ok(fd) = self.path_fd(&found.inode)
            && let Ok(stat) = self.lower.stat_fd(fd.as_fd())
            && found.inode.matches(&stat)
        {
            found.attr = self.attr(&found.inode, &stat);
            found.basis = Basis::Stamped(stamps);
        }
    }

    /// The inode of `name` in `parent`, of which `dir` is a descriptor, its lookup counted.
    pub(super) fn find_in(
        &self,
        parent: &Inode,
        dir: BorrowedFd<'_>,
        name: &CStr,
        keep: Keep,
    ) -> Result<Found, Errno> {
        let found = self.find_unplaced(parent, dir, name, keep)?;
        self.place(&found.inode, parent);
        Ok(found)
    }

    /// The same without taking note of where it was found.
    fn find_unplaced(
        &self,
        parent: &Inode,
        dir: BorrowedFd<'_>,
        name: &CStr,
        keep: Keep,
    ) -> Result<Found, Errno> {
        if self.lower.is_private_tree()
            && let Some((identity, mount)) = self.identity_of_name(dir, name)?
        {
            if let Some(found) = self.find_known(parent, &identity, dir, name)? {
                return Ok(found);
            }
            let stamps = self.stamps_of_number(identity.likely_number());
            match self.open_identity(&identity, &mount) {
                Ok(fd) => {
                    let stat = self.lower.stat_fd(fd.as_fd())?;
                    return self.find_or_add(parent, fd, (identity, mount, stat), stamps, keep);
                }
                // Removed between the two: the name may lead to another file by now.
                Err(Errno::STALE) => {}
                Err(errno) => return Err(errno),
            }
        }
        let fd = self.retry_on_emfile(|| self.lower.open_name(dir, name))?;
        let identified = self.identify(fd.as_fd())?;
        self.find_or_add(parent, fd, identified, None, keep)
    }

    /// The inode itself, counted once more.
    pub(super) fn find_itself(&self, inode: &Inode, fd: BorrowedFd<'_>) -> Result<Found, Errno> {
        self.watch(inode, None);
        let stat = self.lower.stat_fd(fd)?;
        let known = self
            .inodes
            .find(inode.identity(), |known| known.nodeid() == inode.nodeid());
        let inode = known.ok_or(Errno::STALE)?;
        Ok(self.found(inode, &stat, Basis::Look))
    }

    fn found(&self, inode: Arc<Inode>, stat: &Statx, basis: Basis) -> Found {
        let attr = self.attr(&inode, stat);
        Found { inode, attr, basis }
    }

    /// The directory that `child` lies in, for an application that opened a file handle on the
    /// mount (`fuse_get_parent`, fs/fuse/inode.c).
    ///
    /// The root of the private tree is its own parent, so ".." cannot lead out of it; a directory
    /// that was moved out of LOWER meanwhile has no parent there (`path_connected`, fs/namei.c).
    fn find_parent(&self, child: &Inode, dir: BorrowedFd<'_>) -> Result<Found, Errno> {
        if child.nodeid() == ROOT_ID || !self.lower.is_private_tree() {
            return Err(Errno::STALE);
        }
        let found = self.find_unplaced(self.inodes.root(), dir, c"..", Keep::Cached)?;
        self.place_upwards(&found.inode);
        Ok(found)
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
            Ok(self.new_inode(nodeid, (identity, mount, &stat), parent, slot))
        })?;
        self.place(&inode, parent);
        let (stat, basis) = self.look_again(parent, &inode, fd, stat, None)?;
        Ok(self.entry(&self.found(inode, &stat, basis)))
    }

    /// The reply that tells the kernel of `found`.
    pub(super) fn entry(&self, found: &Found) -> EntryOut {
        let inode = &found.inode;
        let name_ttl = self.name_validity(inode.device());
        let attr_ttl = self.attr_validity(inode);
        let mut out = attr::entry_out(inode.nodeid(), found.attr, name_ttl, attr_ttl);
        self.show_entry(inode, &mut out);
        out
    }

    /// The attributes of `inode` as the kernel is told them.
    pub(super) fn attr(&self, inode: &Inode, stat: &Statx) -> Attr {
        let submount = inode.is_submount() && self.agreed(InitFlags::SUBMOUNTS);
        let flags = if submount {
            AttrFlags::SUBMOUNT
        } else {
            AttrFlags::empty()
        };
        attr::attr(inode, stat, flags)
    }

    fn new_inode(
        &self,
        nodeid: u64,
        (identity, mount, stat): (Identity, Arc<LowerMount>, &Statx),
        parent: &Inode,
        slot: FdSlot,
    ) -> Inode {
        let device = device_of(stat);
        let elsewhere = mount.id() != parent.mount().id() || device != parent.device();
        let place = Place {
            submount: elsewhere && kind_of(stat) == FileType::Directory,
            number_tag: self.lower.number_tag(device),
        };
        Inode::new(nodeid, identity, mount, stat, place, slot)
    }

    /// The inode with this identity if it is known, without opening anything.
    fn find_known(
        &self,
        parent: &Inode,
        identity: &Identity,
        dir: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<Option<Found>, Errno> {
        let Some(inode) = self.inodes.peek(identity) else {
            return Ok(None);
        };
        let stamps = self.stamps_of(&inode);
        self.watch(&inode, Some(parent));
        if let Some(attr) = self.attributes_in_fact(&inode) {
            let basis = Basis::Fact;
            let inode = self
                .inodes
                .find(identity, |known| known.nodeid() == inode.nodeid());
            return Ok(inode.map(|inode| Found { inode, attr, basis }));
        }
        let stat = match inode.present_fd() {
            Some(fd) => self.lower.stat_fd(fd.as_fd())?,
            None => self.lower.stat_name(dir, name)?,
        };
        // It may have been forgotten meanwhile, and the handle have become another inode's.
        let is_same = |known: &Inode| known.nodeid() == inode.nodeid() && known.matches(&stat);
        let inode = self.inodes.find(identity, is_same);
        let basis = stamps.map_or(Basis::Look, Basis::Stamped);
        Ok(inode.map(|inode| self.found(inode, &stat, basis)))
    }

    fn open_identity(&self, identity: &Identity, mount: &LowerMount) -> Result<OwnedFd, Errno> {
        match (identity, mount.handle_fd()) {
            (Identity::Handle { handle, .. }, Some(mount)) => {
                let flags = libc::O_PATH | libc::O_CLOEXEC;
                self.retry_on_emfile(|| handle.open(mount, flags))
            }
            _ => Err(Errno::STALE),
        }
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

    /// The same where mounts are not known by their handles.
    pub(super) fn identity_by_opening(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
    ) -> Option<(Identity, Arc<LowerMount>)> {
        let fd = self.lower.open_name(dir, name).ok()?;
        let (identity, mount, _) = self.identify(fd.as_fd()).ok()?;
        Some((identity, mount))
    }

    /// The inode of `fd`, an `O_PATH` descriptor of what is `identified`, its lookup counted. `stamps`
    /// were taken before `fd` was looked at.
    fn find_or_add(
        &self,
        parent: &Inode,
        fd: OwnedFd,
        (identity, mount, stat): (Identity, Arc<LowerMount>, Statx),
        stamps: Option<Stamps>,
        keep: Keep,
    ) -> Result<Found, Errno> {
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
            Ok(self.new_inode(nodeid, (identity, mount, &stat), parent, slot))
        })?;
        let held = inode.present_fd();
        let open = fd.as_ref().map(AsFd::as_fd);
        let (stat, basis) = match open.or(held.as_ref().map(|fd| fd.as_fd())) {
            Some(fd) => self.look_again(parent, &inode, fd, stat, stamps)?,
            None => (stat, Basis::Look),
        };
        if keep == Keep::Cached
            && let Some(fd) = fd
        {
            self.fds.admit(&inode, fd);
        }
        Ok(self.found(inode, &stat, basis))
    }

    /// The attributes of `inode`, which `fd` is of: `stat` if nothing can have changed between
    /// `stamps`, which are older, and its being watched; else they are looked at once more, if it had
    /// to be known to be watched.
    fn look_again(
        &self,
        parent: &Inode,
        inode: &Inode,
        fd: BorrowedFd<'_>,
        stat: Statx,
        stamps: Option<Stamps>,
    ) -> Result<(Statx, Basis), Errno> {
        self.watch(inode, Some(parent));
        if let Some(stamps) = stamps
            && inode.matches(&stat)
            && self.has_held(inode, stamps)
        {
            return Ok((stat, Basis::Stamped(stamps)));
        }
        if !self.is_coherent() {
            return Ok((stat, Basis::Look));
        }
        let looked = self.lower.stat_fd(fd);
        // Its lookup is counted, and nobody will hear of it.
        let stat = looked.inspect_err(|_| self.forget_lookups(inode.nodeid(), 1))?;
        Ok((stat, Basis::Look))
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
    let stat = lower.stat_fd(fd)?;
    let by_number = |mount: &LowerMount| Identity::Number {
        mount: mount.id(),
        device: device_of(&stat),
        number: stat.stx_ino,
    };
    if let Some(mount) = mounts.get(stat.stx_mnt_id)
        && mount.handle_fd().is_none()
    {
        return Ok((by_number(&mount), mount, stat));
    }
    let (handle, id) = match FileHandle::of(fd, c"", mounts.unique_ids()) {
        Ok((handle, id)) => (Some(handle), id),
        Err(Errno::OPNOTSUPP | Errno::OVERFLOW) => (None, stat.stx_mnt_id),
        Err(errno) => return Err(errno),
    };
    let mount = mounts.get_or_add(id, fd, handle.as_ref(), &stat)?;
    let identity = match handle {
        Some(handle) if mount.handle_fd().is_some() => Identity::Handle { mount: id, handle },
        _ => by_number(&mount),
    };
    Ok((identity, mount, stat))
}
