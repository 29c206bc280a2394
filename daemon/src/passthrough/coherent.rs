//! What `--cache coherent` asks of the file system: which inodes are watched, how long a reply is
//! valid, which names are in doubt after a failure.

use super::{
    Passthrough,
    file_handle::FileHandle,
    inode::{Identity, Inode},
    names::{take_name, without_extensions},
};
use crate::{
    coherence::{Coherence, revoker::Inodes},
    fuse::Exchange,
};
use rustix::fs::FileType;
use std::{sync::Arc, time::Duration};
use transport::wire::{Opcode, Rename2In, RenameIn};

impl Passthrough {
    /// Makes replies valid for as long as `coherence` says, which was established for this lower
    /// directory.
    pub fn with_coherence(mut self, coherence: Option<Arc<Coherence>>) -> Self {
        self.coherence = coherence;
        if let Some(coherence) = &self.coherence {
            let root = self.inodes.root();
            coherence.watch(root.device(), root.number(), root.nodeid(), None);
        }
        self
    }

    /// The inode's changes are reported from now on; `parent` is where it was found by a name. To be
    /// called before the look whose result the kernel is told.
    pub(super) fn watch(&self, inode: &Inode, parent: Option<&Inode>) {
        if let Some(coherence) = &self.coherence {
            let parent = parent.map(Inode::nodeid);
            coherence.watch(inode.device(), inode.number(), inode.nodeid(), parent);
        }
    }

    /// Whether changes are reported.
    pub(super) fn is_coherent(&self) -> bool {
        self.coherence.is_some()
    }

    /// How long a name is valid, or that it does not exist, in a directory on `device`.
    pub(super) fn name_validity(&self, device: u64) -> Duration {
        match &self.coherence {
            Some(coherence) => coherence.name_validity(device),
            None => self.ttl(),
        }
    }

    /// How long attributes are valid that were looked at after the inode was
    /// [watched](Self::watch).
    pub(super) fn attr_validity(&self, inode: &Inode) -> Duration {
        if let Some(validity) = self.validity_by_rule(inode) {
            return validity;
        }
        match &self.coherence {
            Some(coherence) => {
                let is_regular = inode.kind() == FileType::RegularFile;
                coherence.attr_validity(inode.device(), is_regular)
            }
            None => self.ttl(),
        }
    }

    /// How long attributes are valid in a reply that the kernel takes as newest, whatever it was told
    /// meanwhile: to SETATTR and to LINK (`fuse_do_setattr`, `create_new_entry`, fs/fuse/dir.c).
    pub(super) fn overtaking_attr_validity(&self, inode: &Inode) -> Duration {
        match &self.coherence {
            Some(_) => Duration::ZERO,
            None => self.attr_validity(inode),
        }
    }

    /// Whether the kernel may keep a file's pages after it is closed: while attributes are believed.
    pub(super) fn keeps_data(&self) -> bool {
        self.is_coherent() || !self.ttl().is_zero()
    }

    /// The names that a request is about to change, each with its directory: they are in doubt if it
    /// fails, for it may have failed after its effect.
    pub(super) fn names_at_stake(&self, exchange: &(dyn Exchange + '_)) -> Vec<(u64, Vec<u8>)> {
        if self.coherence.is_none() {
            return Vec::new();
        }
        let header = exchange.header();
        let target = match header.opcode {
            Opcode::CREATE
            | Opcode::MKNOD
            | Opcode::MKDIR
            | Opcode::SYMLINK
            | Opcode::LINK
            | Opcode::UNLINK
            | Opcode::RMDIR => None,
            Opcode::RENAME => exchange.arg().ok().map(|arg: RenameIn| arg.newdir),
            Opcode::RENAME2 => exchange.arg().ok().map(|arg: Rename2In| arg.newdir),
            _ => return Vec::new(),
        };
        let mut rest = without_extensions(header, exchange.payload()).unwrap_or_default();
        let directories = [Some(header.nodeid), target];
        let named = directories.into_iter().flatten().map_while(|directory| {
            let name = take_name(&mut rest).ok()?;
            Some((directory, name.to_bytes().to_vec()))
        });
        named.collect()
    }

    /// The request has failed.
    pub(super) fn doubt(&self, names: &[(u64, Vec<u8>)]) {
        if let Some(coherence) = &self.coherence {
            for (parent, name) in names {
                coherence.doubt(*parent, name);
            }
        }
    }

    /// The kernel gives lookups back.
    pub(super) fn forget_lookups(&self, nodeid: u64, count: u64) {
        let Some(coherence) = &self.coherence else {
            return self.inodes.forget(nodeid, count);
        };
        let inode = self.inodes.get(nodeid);
        self.inodes.forget(nodeid, count);
        if let Ok(inode) = inode
            && !self.knows(nodeid)
        {
            coherence.forget(inode.device(), inode.number(), nodeid);
        }
    }
}

impl Inodes for Passthrough {
    fn of_handle(&self, handle: &FileHandle) -> Vec<Arc<Inode>> {
        let mounts = self.lower.mounts().ids();
        let of_mount = |mount| {
            let handle = handle.clone();
            self.inodes.peek(&Identity::Handle { mount, handle })
        };
        mounts.into_iter().filter_map(of_mount).collect()
    }

    fn knows(&self, nodeid: u64) -> bool {
        self.inodes.get(nodeid).is_ok()
    }
}
