//! Facts for the kernel programs to answer with (docs/protocol.md, 8): which generations a reply
//! depends on, and when its look at the lower file system may be believed.
//!
//! | fact | depends on | besides |
//! | --- | --- | --- |
//! | a name in a directory, or that there is none | the directory | no change of names that began without an end goes on |
//! | attributes | the inode | |
//! | an extended attribute, or their names | the inode | |
//!
//! *The directory's lock.* The lower file system says that a directory changes while it holds the
//! directory's lock, and the name changes behind that, still under the lock (ext4 marks the directory
//! in `ext4_delete_entry` and `ext4_add_entry`; `d_delete` and `d_instantiate` come later, fs/namei.c).
//! A look without the lock may thus find the old name under the new generation. Where the change's end is
//! noticed there is no stamp until then. Where it is not, the programs tell that such a change began
//! somewhere, before they move the directory's generation: if none did since the directory's lock was free,
//! none goes on. Else getdents(2) takes the lock: whatever had moved the generation before the stamp is over
//! when it returns, and whatever begins afterwards moves the generation once more.

use super::{Passthrough, attr, inode::Inode, lookup::Found};
use crate::{answers::Answers, fuse::Errno};
use rustix::fs::{OFlags, SeekFrom, Statx};
use std::{
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};
use transport::{
    cache::{ABSENT, ATTR_WORDS, Key, Kind, STATX_WORDS},
    generation::Stamp,
    wire::{Attr, AttrOut},
};

/// What was noted before a look: what is found depends on these generations.
pub(super) type Stamps = [Stamp; 2];

/// What attributes rest on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Basis {
    /// A look that no stamp was taken before.
    Look,
    /// A look that these were taken before.
    Stamped(Stamps),
    /// A fact that is true.
    Fact,
}

impl Passthrough {
    /// Where facts about `inode` go, if there are any: the kernel programs answer, and all changes of
    /// the inode are noticed.
    fn answers_about(&self, inode: &Inode) -> Option<&Answers> {
        let answers = self.answers.get()?;
        let noticed = inode.device() == answers.device() && !inode.is_submount();
        noticed.then_some(&**answers)
    }

    /// To be taken before the attributes of `inode`, or its extended attributes, are looked at.
    pub(super) fn stamps_of(&self, inode: &Inode) -> Option<Stamps> {
        let answers = self.answers_about(inode)?;
        Some([answers.stamp(inode.number())?; 2])
    }

    /// The same of an inode that is not known yet, by what is likely to be its number: the word is
    /// the inode's if that [is so](Self::has_held).
    pub(super) fn stamps_of_number(&self, number: Option<u64>) -> Option<Stamps> {
        Some([self.answers.get()?.stamp(number?)?; 2])
    }

    /// Whether `stamps` are of `inode`, and nothing that they depend on has changed since. To be asked
    /// after the inode is watched: a change that began before that has moved the generation, and one
    /// that begins after it is reported.
    pub(super) fn has_held(&self, inode: &Inode, stamps: Stamps) -> bool {
        let answers = self.answers_about(inode);
        answers.is_some_and(|answers| answers.has_held(inode.number(), &stamps))
    }

    /// The attributes of `inode`, if a fact has them. To be asked after the inode is watched.
    pub(super) fn attributes_in_fact(&self, inode: &Inode) -> Option<Attr> {
        let answers = self.answers_about(inode)?;
        let words = answers.recall::<ATTR_WORDS>(&key(Kind::Attr, inode.nodeid(), &[]))?;
        let out: AttrOut = bytemuck::cast(words);
        // One that was renewed from a reply to be shown by another rule says what is shown.
        (out.dummy == inode.shown_by()).then_some(out.attr)
    }

    /// What `name` in `parent` is by the fact about the name, and its attributes by a look at the inode,
    /// which are made a fact; its lookup counted. `dir` is a descriptor of `parent`.
    pub(super) fn find_by_name(
        &self,
        parent: &Inode,
        dir: BorrowedFd<'_>,
        name: &CStr,
    ) -> Option<Found> {
        let answers = self.answers_about(parent)?;
        let key = key(Kind::Name, parent.nodeid(), name.to_bytes());
        let [child, ..] = answers.recall::<4>(&key)?;
        let inode = self.inodes.get(child).ok()?;
        let stamps = self.stamps_of(&inode)?;
        self.watch(&inode, Some(parent));
        let stat = match inode.present_fd() {
            Some(fd) => self.lower.stat_fd(fd.as_fd()),
            None => self.lower.stat_name(dir, name),
        };
        let stat = stat.ok().filter(|stat| inode.matches(stat))?;
        // What was asked by name is another's if the name is by now; what was found would have to have the
        // same number, which moves the inode's generation.
        if !self.has_held(&inode, stamps) {
            return None;
        }
        let attr = self.attr(&inode, &stat);
        self.fill_attr(answers, &inode, stamps, attr);
        let is_same = |known: &Inode| known.nodeid() == child;
        let inode = self.inodes.find(inode.identity(), is_same)?;
        let basis = Basis::Stamped(stamps);
        Some(Found { inode, attr, basis })
    }

    /// What `name` in `parent` is by facts alone, its lookup counted; `None` if they do not tell, or tell
    /// that there is nothing.
    pub(super) fn find_in_facts(&self, parent: &Inode, name: &CStr) -> Option<Found> {
        let answers = self.answers_about(parent)?;
        let key = key(Kind::Name, parent.nodeid(), name.to_bytes());
        let [child, ..] = answers.recall::<4>(&key)?;
        let inode = self.inodes.get(child).ok()?;
        let attr = self.attributes_in_fact(&inode)?;
        let is_same = |known: &Inode| known.nodeid() == child;
        let inode = self.inodes.find(inode.identity(), is_same)?;
        let basis = Basis::Fact;
        Some(Found { inode, attr, basis })
    }

    /// To be taken before names in `directory` are looked at.
    pub(super) fn stamps_of_names(&self, directory: &Arc<Inode>) -> Option<Stamps> {
        let answers = self.answers_about(directory)?;
        let stamp = answers.stamp(directory.number())?;
        let endless = answers.endless()?;
        if directory.has_passed(endless) {
            return Some([stamp; 2]);
        }
        match self.pass_lock(directory) {
            Ok(()) => {
                directory.pass(endless);
                Some([stamp; 2])
            }
            Err(errno) => {
                tracing::debug!(nodeid = directory.nodeid(), %errno, "names are not cached");
                None
            }
        }
    }

    /// Takes the lock of a directory and lets go of it: by a getdents(2) that finds nothing, being at
    /// the end, and leaves the access time alone.
    fn pass_lock(&self, directory: &Arc<Inode>) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME;
        let open = self.reopen(directory, flags)?;
        rustix::fs::seek(&open, SeekFrom::End(0))?;
        let mut space = [MaybeUninit::uninit(); 512];
        match rustix::fs::RawDir::new(&open, &mut space).next() {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(errno)) => Err(errno),
        }
    }

    /// Whether a kernel program makes the fact of this kind anew from the reply that is about to be
    /// given.
    pub(super) fn is_renewed(&self, inode: &Inode, kind: Kind) -> bool {
        // What is shown by a transformation is not what a fact says.
        let answers = self.answers_about(inode).filter(|_| inode.shown_by() == 0);
        answers.is_some_and(|answers| answers.is_renewed(&key(kind, inode.nodeid(), &[])))
    }

    /// `stat` is what `inode` was found to be since `stamps`.
    pub(super) fn fill_attributes(&self, inode: &Inode, stamps: Option<Stamps>, stat: &Statx) {
        let (Some(answers), Some(stamps)) = (self.answers_about(inode), stamps) else {
            return;
        };
        if !inode.matches(stat) {
            return;
        }
        self.fill_attr(answers, inode, stamps, self.attr(inode, stat));
    }

    fn fill_attr(&self, answers: &Answers, inode: &Inode, stamps: Stamps, attr: Attr) {
        let mut out = attr::attr_out(attr, self.attr_validity(inode));
        out.dummy = inode.shown_by();
        let body = bytemuck::bytes_of(&out);
        let key = key(Kind::Attr, inode.nodeid(), &[]);
        answers.fill(&key, stamps, body, body.len() as u32);
    }

    /// As [`fill_attributes`](Self::fill_attributes), as statx(2) has them.
    pub(super) fn fill_statx(&self, inode: &Inode, stamps: Option<Stamps>, stat: &Statx) {
        let (Some(answers), Some(stamps)) = (self.answers_about(inode), stamps) else {
            return;
        };
        let mut out = attr::statx_out(inode, stat, self.attr_validity(inode));
        out.flags = inode.shown_by();
        let (body, reserved) = bytemuck::bytes_of(&out).split_at(STATX_WORDS * 8);
        if !inode.matches(stat) || reserved.iter().any(|byte| *byte != 0) {
            return;
        }
        let key = key(Kind::Statx, inode.nodeid(), &[]);
        answers.fill(&key, stamps, body, body.len() as u32);
    }

    /// `name` in `parent` was found to be this since `stamps`, or not to be there.
    pub(super) fn fill_name(
        &self,
        parent: &Inode,
        stamps: Option<Stamps>,
        name: &CStr,
        found: Option<&Found>,
    ) {
        let (Some(answers), Some(stamps)) = (self.answers_about(parent), stamps) else {
            return;
        };
        let ttl = self.name_validity(parent.device());
        let validity = [ttl.as_secs(), u64::from(ttl.subsec_nanos())];
        let inode = match found {
            None => [0, 0],
            Some(Found { inode, attr, basis }) => {
                if self.answers_about(inode).is_none() {
                    return;
                }
                let Some(word) = self.inodes.counted_in(inode) else {
                    return;
                };
                if let Basis::Stamped(stamps) = basis {
                    self.fill_attr(answers, inode, *stamps, *attr);
                }
                [inode.nodeid(), word.pack()]
            }
        };
        let body = [inode[0], inode[1], validity[0], validity[1]];
        let key = key(Kind::Name, parent.nodeid(), name.to_bytes());
        answers.fill(&key, stamps, &body[..], 32);
    }

    /// The reply to GETXATTR of a caller with room for it, or `ENODATA`.
    pub(super) fn fill_xattr(
        &self,
        inode: &Inode,
        stamps: Option<Stamps>,
        name: &CStr,
        value: Option<&[u8]>,
    ) {
        let key = key(Kind::Xattr, inode.nodeid(), name.to_bytes());
        self.fill_value(inode, stamps, &key, value);
    }

    /// The reply to a LISTXATTR that everybody gets.
    pub(super) fn fill_xattrs(&self, inode: &Inode, stamps: Option<Stamps>, names: &[u8]) {
        self.fill_value(
            inode,
            stamps,
            &key(Kind::Xattrs, inode.nodeid(), &[]),
            Some(names),
        );
    }

    fn fill_value(
        &self,
        inode: &Inode,
        stamps: Option<Stamps>,
        key: &Key<'_, [u8]>,
        value: Option<&[u8]>,
    ) {
        let (Some(answers), Some(stamps)) = (self.answers_about(inode), stamps) else {
            return;
        };
        let len = value.map_or(Some(ABSENT), |value| u32::try_from(value.len()).ok());
        if let Some(len) = len {
            answers.fill(key, stamps, value.unwrap_or_default(), len);
        }
    }
}

const fn key(kind: Kind, nodeid: u64, name: &[u8]) -> Key<'_, [u8]> {
    Key {
        kind,
        nodeid,
        name,
        len: name.len(),
    }
}
