//! Names: SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, RENAME2, LINK.
//!
//! What is made is made by the caller ([`ThreadCreds::act_as`](super::creds::ThreadCreds)). What is
//! removed while the kernel still knows its inode keeps a descriptor until it is forgotten: a
//! working directory or an `O_PATH` descriptor on the mount opens nothing below, and without that
//! descriptor the lower inode would be gone.

use super::{
    Passthrough, attr,
    inode::Inode,
    lookup::Keep,
    names::{groups, only_name, take_name, take_string, without_extensions},
    proc_fd,
};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use transport::wire::{EntryOut, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn};

impl Passthrough {
    /// SYMLINK.
    pub(super) fn symlink(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        self.make(
            thread,
            exchange,
            FileType::Symlink,
            0,
            |exchange, dir, name| {
                let mut rest = without_extensions(exchange.header(), exchange.payload())?;
                take_name(&mut rest)?;
                rustix::fs::symlinkat(take_string(&mut rest)?, dir, name)
            },
        )
    }

    /// MKNOD: anything but a directory and a symlink.
    pub(super) fn mknod(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let MknodIn {
            mode, rdev, umask, ..
        } = exchange.arg()?;
        let kind = FileType::from_raw_mode(mode);
        self.make(thread, exchange, kind, umask, |_, dir, name| {
            let (major, minor) = attr::decode_device(rdev);
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(mode), device)
        })
    }

    /// MKDIR.
    pub(super) fn mkdir(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let MkdirIn { mode, umask } = exchange.arg()?;
        self.make(
            thread,
            exchange,
            FileType::Directory,
            umask,
            |_, dir, name| rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode)),
        )
    }

    /// UNLINK and RMDIR, which says so by `flags`.
    pub(super) fn unlink(&self, exchange: &mut (dyn Exchange + '_), flags: AtFlags) -> Answer {
        let parent = self.inode(exchange.header().nodeid)?;
        let dir = self.path_fd(&parent)?;
        let name = only_name(exchange)?;
        let victim = self.known(dir.as_fd(), name);
        rustix::fs::unlinkat(&*dir, name, flags)?;
        self.keep_unlinked(victim);
        Ok(Body::Empty)
    }

    /// RENAME.
    pub(super) fn rename(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let RenameIn { newdir } = exchange.arg()?;
        self.rename_to(thread, exchange, newdir, RenameFlags::empty())
    }

    /// RENAME2, its flags passed on.
    pub(super) fn rename2(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let Rename2In { newdir, flags, .. } = exchange.arg()?;
        self.rename_to(
            thread,
            exchange,
            newdir,
            RenameFlags::from_bits_retain(flags),
        )
    }

    /// LINK.
    pub(super) fn link(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let LinkIn { oldnodeid } = exchange.arg()?;
        let inode = self.inode(oldnodeid)?;
        let old = self.path_fd(&inode)?;
        let parent = self.inode(exchange.header().nodeid)?;
        let dir = self.path_fd(&parent)?;
        let name = only_name(exchange)?;
        match rustix::fs::linkat(&*old, c"", &*dir, name, AtFlags::EMPTY_PATH) {
            // Without CAP_DAC_READ_SEARCH the way is the magic link.
            Err(Errno::NOENT) if !self.lower.is_private_tree() => {
                let (proc, link) = (proc_fd::directory()?, proc_fd::name(old.as_fd()));
                rustix::fs::linkat(proc, link, &*dir, name, AtFlags::SYMLINK_FOLLOW)?;
            }
            result => result?,
        }
        self.place(&inode, &parent);
        // Not by its name, of which somebody may have made another file since.
        let found = self.find_itself(&inode, old.as_fd())?;
        let ttl = self.overtaking_attr_validity(&inode);
        exchange.reply(&EntryOut {
            attr_valid: ttl.as_secs(),
            attr_valid_nsec: ttl.subsec_nanos(),
            ..self.entry(&found)
        })
    }

    /// Makes something of the name in the request as its caller, and answers with its entry.
    ///
    /// Somebody who works on the lower directory may put a file of another type in its place before
    /// it is looked at. The kernel takes no such entry, and does not forget it either
    /// (`create_new_entry`, fs/fuse/dir.c): the answer is `ESTALE`, with which the kernel walks the
    /// path once more.
    fn make(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
        kind: FileType,
        umask: u32,
        make: impl FnOnce(&dyn Exchange, BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
    ) -> Answer {
        let parent = self.inode(exchange.header().nodeid)?;
        let dir = self.path_fd(&parent)?;
        let mut rest = without_extensions(exchange.header(), exchange.payload())?;
        let name = take_name(&mut rest)?;
        {
            let caller = self.caller(exchange.header(), &parent);
            let groups = caller.groups_below(&groups(exchange)?);
            let _acting = thread.creds.act_as(&caller, umask, &groups)?;
            make(exchange, dir.as_fd(), name)?;
        }
        let found = self.find_in(&parent, dir.as_fd(), name, Keep::Cached)?;
        if found.inode.kind() != kind {
            self.inodes.forget(found.inode.nodeid(), 1);
            return Err(Errno::STALE);
        }
        exchange.reply(&self.entry(&found))
    }

    fn rename_to(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
        newdir: u64,
        flags: RenameFlags,
    ) -> Answer {
        let parent = self.inode(exchange.header().nodeid)?;
        let from = self.path_fd(&parent)?;
        let new_parent = self.inode(newdir)?;
        let to = self.path_fd(&new_parent)?;
        let mut rest = without_extensions(exchange.header(), exchange.payload())?;
        let old = take_name(&mut rest)?;
        let new = take_name(&mut rest)?;
        let replaces = !flags.intersects(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE);
        let victim = if replaces {
            self.known(to.as_fd(), new)
        } else {
            None
        };
        if flags.contains(RenameFlags::WHITEOUT) {
            // The whiteout is made, and so belongs to the caller.
            let caller = self.caller(exchange.header(), &parent);
            let _acting = thread.creds.act_as(&caller, 0, &[])?;
            rustix::fs::renameat_with(&*from, old, &*to, new, flags)?;
        } else {
            rustix::fs::renameat_with(&*from, old, &*to, new, flags)?;
        }
        self.keep_unlinked(victim);
        if parent.nodeid() != newdir {
            self.place_known(&new_parent, to.as_fd(), new);
            if flags.contains(RenameFlags::EXCHANGE) {
                self.place_known(&parent, from.as_fd(), old);
            }
        }
        Ok(Body::Empty)
    }

    /// Takes note that what the kernel knows as `name` lies in `directory` now.
    fn place_known(&self, directory: &Inode, dir: BorrowedFd<'_>, name: &CStr) {
        let inode = match self.lower.is_private_tree() {
            true => self.identity_of_name(dir, name).ok().flatten(),
            false => self.identity_by_opening(dir, name),
        };
        if let Some((identity, _)) = inode
            && let Some(inode) = self.inodes.peek(&identity)
        {
            self.place(&inode, directory);
        }
    }

    /// The inode of `name` if the kernel knows it and only a handle leads to it, with a descriptor
    /// that keeps it for the time being. Whatever fails here fails again where it matters.
    fn known(&self, dir: BorrowedFd<'_>, name: &CStr) -> Option<(Arc<Inode>, Arc<OwnedFd>)> {
        if !self.lower.is_private_tree() {
            return None;
        }
        let (identity, _) = self.identity_of_name(dir, name).ok()??;
        let inode = self.inodes.peek(&identity)?;
        let fd = self.path_fd(&inode).ok()?;
        Some((inode, fd))
    }

    /// Keeps the descriptor of an inode that has lost its last name.
    fn keep_unlinked(&self, victim: Option<(Arc<Inode>, Arc<OwnedFd>)>) {
        let Some((inode, fd)) = victim else { return };
        // The count is read after the removal: of two threads that remove the last two names, the
        // later one reads 0.
        let unlinked = match self.lower.stat_fd(fd.as_fd()) {
            Ok(stat) => stat.stx_nlink == 0,
            Err(_) => false,
        };
        if unlinked && !self.fds.hold(&inode, fd) {
            tracing::warn!(
                "too many removed files are in use to keep one more (RLIMIT_NOFILE / 2): nodeid {} \
                 will answer ESTALE once nobody has it open",
                inode.nodeid()
            );
        }
    }
}
