//! GETXATTR, SETXATTR, LISTXATTR, REMOVEXATTR, POSIX ACLs among them.
//!
//! An `O_PATH` descriptor has no extended attributes for fgetxattr(2); the magic link in
//! `/proc/self/fd` leads to the inode itself, a symlink included: it is not followed any further
//! (`nd_jump_link`, fs/namei.c).

use super::{Passthrough, names, proc_fd};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use rustix::fs::XattrFlags;
use std::{ffi::CStr, os::fd::AsFd};
use transport::wire::{GetxattrIn, GetxattrOut, SetxattrFlags, SetxattrIn};

/// What a file can do for who executes it (capabilities(7)).
const CAPABILITY: &CStr = c"security.capability";
/// Longest name of an extended attribute in bytes (`XATTR_NAME_MAX`,
/// include/uapi/linux/limits.h).
const NAME_MAX: usize = 255;
/// Longest value in bytes (`XATTR_SIZE_MAX`), and longest list of names (`XATTR_LIST_MAX`).
const VALUE_MAX: usize = 65536;

impl Passthrough {
    /// GETXATTR: a value, or its length if the caller has room for nothing.
    pub(super) fn getxattr(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let GetxattrIn { size, .. } = exchange.arg()?;
        let name = Name::of(exchange)?;
        if name.as_c_str() == CAPABILITY {
            self.writers.forget(exchange.header());
        }
        let inode = self.inode(exchange.header().nodeid)?;
        let fd = self.path_fd(&inode)?;
        let path = proc_fd::path(fd.as_fd());
        let (path, name) = (path.as_c_str(), name.as_c_str());
        let stamps = self.stamps_of(&inode);
        let answer = answer_sized(exchange, size, |value| match value {
            Some(value) => rustix::fs::getxattr(path, name, value),
            None => rustix::fs::getxattr_query(path, name),
        });
        // Who removed capabilities from this inode is to be told from who asks for them: the request
        // is not to pass the daemon by.
        let is_acl = self.shows_xattr(&inode, name);
        if let Ok(Body::Out(len)) = answer
            && is_acl
            && size > 0
        {
            let value = exchange.out().get_mut(..len).unwrap_or_default();
            self.show_xattr(&inode, name, value);
        }
        if !is_acl && (name != CAPABILITY || !self.writers.concern(inode.nodeid())) {
            match answer {
                Ok(Body::Out(len)) if size > 0 => {
                    self.fill_xattr(&inode, stamps, name, exchange.out().get(..len));
                }
                Err(Errno::NODATA) => self.fill_xattr(&inode, stamps, name, None),
                _ => {}
            }
        }
        answer
    }

    /// LISTXATTR: names, each closed by a zero, or their length if the caller has room for
    /// nothing.
    pub(super) fn listxattr(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let GetxattrIn { size, .. } = exchange.arg()?;
        let inode = self.inode(exchange.header().nodeid)?;
        let fd = self.path_fd(&inode)?;
        let path = proc_fd::path(fd.as_fd());
        let path = path.as_c_str();
        let stamps = self.stamps_of(&inode);
        if exchange.header().uid == 0 {
            let answer = answer_sized(exchange, size, |names| match names {
                Some(names) => rustix::fs::listxattr(path, names),
                None => rustix::fs::listxattr_query(path),
            });
            // The programs do not ask who asks.
            if let Ok(Body::Out(len)) = answer
                && size > 0
                && let Some(all) = exchange.out().get(..len)
                && shown_to_users(all).len() == len
            {
                self.fill_xattrs(&inode, stamps, all);
            }
            return answer;
        }
        let mut all = vec![0; VALUE_MAX];
        let len = rustix::fs::listxattr(path, all.as_mut_slice())?;
        let shown = shown_to_users(&all[..len]);
        if shown.len() == len {
            self.fill_xattrs(&inode, stamps, &shown);
        }
        answer_sized(exchange, size, |names| {
            if let Some(names) = names {
                let place = names.get_mut(..shown.len()).ok_or(Errno::RANGE)?;
                place.copy_from_slice(&shown);
            }
            Ok(shown.len())
        })
    }

    /// SETXATTR. An access ACL changes the mode as well, and clears sgid if the caller is not in
    /// the file's group and lacks CAP_FSETID: the kernel says so, and the lower file system finds
    /// the same of a thread with the caller's group (`posix_acl_update_mode`, fs/posix_acl.c).
    pub(super) fn setxattr(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: SetxattrIn = exchange.arg()?;
        let inode = self.inode(exchange.header().nodeid)?;
        let fd = self.path_fd(&inode)?;
        let path = proc_fd::path(fd.as_fd());
        let mut rest = exchange.payload();
        let name = names::take_string(&mut rest)?;
        let value = rest.get(..request.size as usize).ok_or(Errno::IO)?;
        let flags = XattrFlags::from_bits_retain(request.flags);
        let mapped = self.xattr_below(&inode, name, value, fd.as_fd())?;
        let value = mapped.as_deref().unwrap_or(value);
        let set = || rustix::fs::setxattr(path.as_c_str(), name, value, flags);
        if request
            .setxattr_flags
            .contains(SetxattrFlags::ACL_KILL_SGID)
        {
            let caller = self.caller(exchange.header(), &inode);
            let mut acting = thread.creds.act_as(&caller, 0, &[])?;
            acting.without_fsetid()?;
            set()?;
        } else {
            thread.creds.with_fsetid()?;
            set()?;
        }
        Ok(Body::Empty)
    }

    /// REMOVEXATTR.
    pub(super) fn removexattr(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let name = names::take_string(&mut exchange.payload())?;
        let inode = self.inode(exchange.header().nodeid)?;
        let fd = self.path_fd(&inode)?;
        if name == CAPABILITY {
            let caller = exchange.header();
            self.check_capability_removal(&mut thread.creds, caller, &inode, fd.as_fd())?;
        }
        rustix::fs::removexattr(proc_fd::path(fd.as_fd()).as_c_str(), name)?;
        Ok(Body::Empty)
    }
}

/// The names without the `trusted` ones, which the lower file system shows to CAP_SYS_ADMIN alone:
/// to this daemon, but not to the caller.
fn shown_to_users(names: &[u8]) -> Vec<u8> {
    let names = names.split_inclusive(|byte| *byte == 0);
    let shown = names.filter(|name| !name.starts_with(b"trusted."));
    shown.flatten().copied().collect()
}

/// Answers with up to `size` bytes that `get` writes, or if `size` is 0 with how many there are.
fn answer_sized(
    exchange: &mut (dyn Exchange + '_),
    size: u32,
    get: impl Fn(Option<&mut [u8]>) -> Result<usize, Errno>,
) -> Answer {
    if size == 0 {
        let size = get(None)? as u32;
        return exchange.reply(&GetxattrOut { size, padding: 0 });
    }
    let wanted = (size as usize).min(VALUE_MAX);
    let out = exchange.out();
    let room = wanted.min(out.len());
    match get(Some(&mut out[..room])) {
        // The caller has room, the reply has not: the value cannot be had (getxattr(2)).
        Err(Errno::RANGE) if room < wanted => Err(Errno::TOOBIG),
        got => got.map(Body::Out),
    }
}

/// A name copied out of the request: the reply may be built where the request lies.
struct Name([u8; NAME_MAX + 1]);

impl Name {
    fn of(exchange: &(dyn Exchange + '_)) -> Result<Self, Errno> {
        let name = names::take_string(&mut exchange.payload())?.to_bytes();
        let mut copy = [0; NAME_MAX + 1];
        // One longer is what no file can have (`import_xattr_name`, fs/xattr.c).
        let place = copy[..NAME_MAX].get_mut(..name.len()).ok_or(Errno::RANGE)?;
        place.copy_from_slice(name);
        Ok(Self(copy))
    }

    fn as_c_str(&self) -> &CStr {
        // The last byte is NUL in any case.
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}
