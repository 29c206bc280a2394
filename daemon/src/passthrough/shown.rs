//! How inodes are shown: the transformations of the mount (`crate::transform`) on replies and on
//! requests, and which of them an inode lies under.
//!
//! An inode lies where it was found last. A directory that is moved takes what lies below it along, so a
//! move between directories, or a directory that is found elsewhere than before, makes all numbers anew.
//! A file with names under two transformations is shown by the one of the name that was looked up last.
//!
//! *Order.* Numbers and rules change under the write lock, while a change of every inode is under way: no
//! fact is made or answered in that time (docs/protocol.md, 8.10). Afterwards what the kernel was told is
//! revoked.

use super::{
    Passthrough,
    caller::Caller,
    inode::{Inode, device_of, kind_of},
};
use crate::{
    fuse::Errno,
    transform::{Rule, Table, acl},
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};
use transport::{
    transform::{Places, Rules, Transform, apply},
    wire::{AttrOut, EntryOut, InHeader, ROOT_ID, StatxOut},
};

/// Deeper than this no inode lies: a chain of parents that is longer goes in a circle, which a look at
/// directories while they are moved may bring about.
const DEPTH_MAX: usize = 4096;

impl Passthrough {
    /// What `inode` is shown by.
    pub(super) fn rules_of(&self, inode: &Inode) -> Option<Arc<Transform>> {
        if !self.transforms.any() {
            return None;
        }
        self.transforms.read().get(inode.shown_by()).cloned()
    }

    /// Who makes a request about `inode`, as the lower file system is to know him.
    pub(super) fn caller(&self, header: &InHeader, inode: &Inode) -> Caller {
        Caller::new(header, self.rules_of(inode))
    }

    /// The same by the inode's nodeid.
    pub(super) fn caller_about(&self, header: &InHeader) -> Caller {
        let inode = match self.transforms.any() {
            true => self.inode(header.nodeid).ok(),
            false => None,
        };
        Caller::new(header, inode.and_then(|inode| self.rules_of(&inode)))
    }

    /// Shows the attributes in a reply about an entry. How long they are valid was said before.
    pub(super) fn show_entry(&self, inode: &Inode, out: &mut EntryOut) {
        if let Some(rules) = self.rules_of(inode) {
            let words: &mut [u64; 16] = bytemuck::cast_mut(out);
            apply(&*rules, &Places::ENTRY, &mut words[..]);
        }
    }

    /// The same of a reply to GETATTR or SETATTR.
    pub(super) fn show_attr(&self, inode: &Inode, out: &mut AttrOut) {
        if let Some(rules) = self.rules_of(inode) {
            let words: &mut [u64; 13] = bytemuck::cast_mut(out);
            apply(&*rules, &Places::ATTR, &mut words[..]);
        }
    }

    /// The same of a reply to STATX.
    pub(super) fn show_statx(&self, inode: &Inode, out: &mut StatxOut) {
        if let Some(rules) = self.rules_of(inode) {
            let words: &mut [u64; 36] = bytemuck::cast_mut(out);
            apply(&*rules, &Places::STATX, &mut words[..]);
        }
    }

    /// How long the attributes of `inode` are valid by a transformation, if it says so.
    pub(super) fn validity_by_rule(&self, inode: &Inode) -> Option<Duration> {
        let (seconds, nanoseconds) = self.rules_of(inode)?.validity()?;
        Some(Duration::new(seconds, nanoseconds))
    }

    /// The mode that chmod(2) to `given` sets on `inode`, which `fd` is of: hidden bits stay. Somebody who
    /// changes them below in this moment may lose his change.
    pub(super) fn mode_below(
        &self,
        inode: &Inode,
        given: u32,
        fd: BorrowedFd<'_>,
    ) -> Result<u32, Errno> {
        match self.rules_of(inode).filter(|rules| rules.hidden() != 0) {
            None => Ok(given),
            Some(rules) => Ok(rules.mode_below(given, mode_of(fd)?)),
        }
    }

    /// Whether an extended attribute is shown otherwise than it is: an ACL. No fact says what it is.
    pub(super) fn shows_xattr(&self, inode: &Inode, name: &CStr) -> bool {
        acl::Kind::of(name).is_some() && self.rules_of(inode).is_some()
    }

    /// An ACL that was read below, as it is shown; everything else as it is.
    pub(super) fn show_xattr(&self, inode: &Inode, name: &CStr, value: &mut [u8]) {
        if let Some(kind) = acl::Kind::of(name)
            && let Some(rules) = self.rules_of(inode)
        {
            acl::show(value, kind, &rules);
        }
    }

    /// An extended attribute that is set by way of the mount, as it is to be below; `None`: as it is.
    pub(super) fn xattr_below(
        &self,
        inode: &Inode,
        name: &CStr,
        value: &[u8],
        fd: BorrowedFd<'_>,
    ) -> Result<Option<Vec<u8>>, Errno> {
        let (Some(kind), Some(rules)) = (acl::Kind::of(name), self.rules_of(inode)) else {
            return Ok(None);
        };
        let mut value = value.to_vec();
        acl::below(&mut value, kind, &rules, mode_of(fd)?)?;
        Ok(Some(value))
    }

    /// `inode` was found in `parent`.
    pub(super) fn place(&self, inode: &Inode, parent: &Inode) {
        let before = inode.parent();
        inode.set_parent(parent.nodeid());
        if !self.transforms.any() {
            return;
        }
        {
            let table = self.transforms.read();
            let number = table.within(parent.shown_by(), shown_number(inode));
            if number == inode.shown_by() {
                return;
            }
            let is_new = before == 0;
            if is_new || inode.kind() != FileType::Directory {
                // No fact about it by another number is true any more.
                let _change = self
                    .answers
                    .get()
                    .map(|answers| answers.change([(inode.device(), inode.number())]));
                inode.set_shown_by(number);
                return;
            }
        }
        self.number_anew(None);
        self.revoke_shown(false);
    }

    /// A directory was found as the one that another lies in: where it lies itself is looked for below.
    pub(super) fn place_upwards(&self, inode: &Arc<Inode>) {
        if inode.parent() == 0 && self.transforms.any() {
            let table = self.transforms.read();
            inode.set_shown_by(self.number_of(&table, inode));
        }
    }

    /// Puts other transformations in the place of those in force. What the kernel believes of attributes is
    /// revoked when this returns; not to be called by a thread that serves requests.
    pub fn transform_by(&self, rules: &[Rule]) {
        self.number_anew(Some(rules));
        self.revoke_shown(true);
    }

    /// Gives every inode its number, by other rules if there are any.
    fn number_anew(&self, rules: Option<&[Rule]>) {
        let answers = self.answers.get();
        let _change = answers.map(|answers| answers.change_all());
        let mut table = self.transforms.write();
        if let Some(rules) = rules {
            table.replace(rules);
            self.transforms.note(&table);
            if let Some(answers) = answers {
                for (number, transform) in table.iter() {
                    answers.transform(number, transform);
                }
            }
        }
        for inode in self.inodes.all() {
            inode.set_shown_by(self.number_of(&table, &inode));
        }
    }

    /// The number of an inode by where it and its directories were found last.
    fn number_of(&self, table: &Table, inode: &Arc<Inode>) -> u32 {
        let mut number = table.at(shown_number(inode));
        if !table.has_subtrees() {
            return number;
        }
        let mut at = Arc::clone(inode);
        for _ in 0..DEPTH_MAX {
            if at.nodeid() == ROOT_ID {
                break;
            }
            let Ok(parent) = self.inodes.get(at.parent()) else {
                return self.climb(table, number, &at);
            };
            number = table.within(number, shown_number(&parent));
            at = parent;
        }
        number
    }

    /// The same for an inode whose directory the kernel has forgotten: by the lower directories' own
    /// parents. Of a file that has lost its directory nothing more is known.
    fn climb(&self, table: &Table, mut number: u32, inode: &Arc<Inode>) -> u32 {
        let Ok(start) = self.path_fd(inode) else {
            return number;
        };
        let root = self.inodes.root();
        let mut at = start.try_clone().ok();
        for _ in 0..DEPTH_MAX {
            let Some(fd) = at.take() else { break };
            let Ok(stat) = self.lower.stat_fd(fd.as_fd()) else {
                break;
            };
            let tag = self.lower.number_tag(device_of(&stat));
            number = table.within(number, stat.stx_ino ^ tag);
            if root.matches(&stat) || kind_of(&stat) != FileType::Directory {
                break;
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = rustix::fs::openat(&fd, c"..", flags, Mode::empty()).ok();
        }
        number
    }

    /// The kernel is to ask for all attributes again.
    fn revoke_shown(&self, wait: bool) {
        if let Some(coherence) = &self.coherence {
            coherence.revoke_everything(wait);
            return;
        }
        // Of a thread that serves this would wait for itself; a transformation that says how long
        // attributes are valid has said for how long they may be as before the move.
        if let Some(device) = self.device.get()
            && wait
        {
            for inode in self.inodes.all() {
                // Attributes alone. Not known, or the mount has ended: nothing is believed.
                let _ = device.notify_inval_inode(inode.nodeid(), -1, 0);
            }
        }
    }
}

fn shown_number(inode: &Inode) -> u64 {
    inode.shown_number(inode.number())
}

fn mode_of(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    Ok(rustix::fs::statat(fd, c"", AtFlags::EMPTY_PATH)?.st_mode)
}
