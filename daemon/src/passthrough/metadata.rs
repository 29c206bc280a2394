//! Attributes: GETATTR, STATX, SETATTR, ACCESS, READLINK, STATFS.

use super::{
    Passthrough, attr,
    caller::Caller,
    facts::Stamps,
    inode::Inode,
    privileges::{changing, has_suid_or_sgid, sgid_group, supplementary},
    proc_fd, sys,
};
use crate::fuse::{Answer, Body, Errno, Exchange, ServeThread};
use nix::unistd::{AccessFlags, faccessat};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, Statx, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid},
    io::retry_on_intr,
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use transport::{
    cache::Kind,
    wire::{AccessIn, GetattrFlags, GetattrIn, SetattrIn, SetattrValid, StatfsOut, StatxIn},
};

impl Passthrough {
    /// GETATTR.
    pub(super) fn getattr(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let GetattrIn {
            getattr_flags, fh, ..
        } = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let fh = getattr_flags.contains(GetattrFlags::FH).then_some(fh);
        let (inode, stat, stamps) = self.stat(nodeid, fh)?;
        if !self.is_renewed(&inode, Kind::Attr) {
            self.fill_attributes(&inode, stamps, &stat);
        }
        exchange.reply(&self.attr_out(&inode, &stat))
    }

    /// STATX.
    pub(super) fn statx(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let StatxIn {
            getattr_flags, fh, ..
        } = exchange.arg()?;
        let nodeid = exchange.header().nodeid;
        let fh = getattr_flags.contains(GetattrFlags::FH).then_some(fh);
        let (inode, stat, stamps) = self.stat(nodeid, fh)?;
        if !self.is_renewed(&inode, Kind::Statx) {
            self.fill_statx(&inode, stamps, &stat);
        }
        let mut out = attr::statx_out(&inode, &stat, self.attr_validity(&inode));
        self.show_statx(&inode, &mut out);
        exchange.reply(&out)
    }

    /// SETATTR. What comes in one request is done in the order in which nothing undoes another:
    /// a change of owner clears suid and sgid, which a mode may set; a truncation moves times.
    pub(super) fn setattr(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let arg: SetattrIn = exchange.arg()?;
        let header = *exchange.header();
        let valid = arg.valid;
        let inode = self.inode(header.nodeid)?;
        let caller = self.caller(&header, &inode);
        let open = valid
            .contains(SetattrValid::FH)
            .then(|| self.open_file_if_any(arg.fh))
            .transpose()?
            .flatten();
        // An open file reaches its inode even where no handle does any more.
        let path_fd;
        let fd = match &open {
            Some(open) => open.as_fd(),
            None => {
                path_fd = self.path_fd(&inode)?;
                path_fd.as_fd()
            }
        };
        let after_capabilities = self.writers.take(&header);
        if valid.intersects(SetattrValid::UID | SetattrValid::GID) {
            change_owner(thread, &caller, fd, &arg)?;
        } else if is_of_nothing(valid) && !after_capabilities {
            let stat = self.lower.stat_fd(fd)?;
            let clears =
                inode.kind() != FileType::Directory && has_suid_or_sgid(stat.stx_mode.into());
            if !clears || caller.is_root || caller.uid == stat.stx_uid {
                change_owner(thread, &caller, fd, &arg)?;
            }
        }
        if valid.contains(SetattrValid::MODE) {
            thread.creds.with_fsetid()?;
            let mode = self.mode_below(&inode, arg.mode & 0o7777, fd)?;
            chmod(fd, mode)?;
        }
        if valid.contains(SetattrValid::SIZE) {
            let keeps = !valid.contains(SetattrValid::KILL_SUIDGID);
            let _acting = changing(&mut thread.creds, &caller, keeps, fd)?;
            match &open {
                Some(open) => retry_on_intr(|| rustix::fs::ftruncate(open, arg.size))?,
                // By name, not by a descriptor: to the same length truncate(2) leaves the times alone
                // on some file systems, ftruncate(2) on none (`do_truncate`, fs/open.c).
                None => truncate(fd, arg.size)?,
            }
        }
        if valid.intersects(SetattrValid::ATIME | SetattrValid::MTIME) {
            rustix::fs::utimensat(fd, c"", &timestamps(&arg), AtFlags::EMPTY_PATH)?;
        }
        let stat = self.lower.stat_fd(fd)?;
        let ttl = self.overtaking_attr_validity(&inode);
        let mut out = attr::attr_out(self.attr(&inode, &stat), ttl);
        self.show_attr(&inode, &mut out);
        exchange.reply(&out)
    }

    /// ACCESS: only without `default_permissions`, and then only the user who mounted is let in.
    pub(super) fn access(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let AccessIn { mask, .. } = exchange.arg()?;
        let inode = self.inode(exchange.header().nodeid)?;
        let fd = self.path_fd(&inode)?;
        let access = AccessFlags::from_bits(mask as i32).ok_or(Errno::INVAL)?;
        let caller = self.caller(exchange.header(), &inode);
        let mut acting = thread.creds.act_as(&caller, 0, &[])?;
        if !caller.is_root {
            acting.without_overrides()?;
        }
        // By the credentials of now, of the descriptor itself (faccessat2(2)).
        let flags = nix::fcntl::AtFlags::AT_EACCESS | nix::fcntl::AtFlags::AT_EMPTY_PATH;
        faccessat(&*fd, c"", access, flags).map_err(|e| Errno::from_raw_os_error(e as i32))?;
        Ok(Body::Empty)
    }

    /// READLINK.
    pub(super) fn readlink(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let inode = self.inode(exchange.header().nodeid)?;
        let fd = self.path_fd(&inode)?;
        let out = exchange.out();
        let len = rustix::fs::readlinkat_raw(&*fd, c"", &mut *out)?;
        if len == out.len() {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(Body::Out(len))
    }

    /// STATFS, of the lower mount that the inode is on.
    pub(super) fn statfs(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let inode = self.inode(exchange.header().nodeid)?;
        let stat = rustix::fs::fstatvfs(&*self.path_fd(&inode)?)?;
        exchange.reply(&StatfsOut {
            blocks: stat.f_blocks,
            bfree: stat.f_bfree,
            bavail: stat.f_bavail,
            files: stat.f_files,
            ffree: stat.f_ffree,
            bsize: u32::try_from(stat.f_bsize).unwrap_or(u32::MAX),
            namelen: u32::try_from(stat.f_namemax).unwrap_or(u32::MAX),
            frsize: u32::try_from(stat.f_frsize).unwrap_or(u32::MAX),
            ..StatfsOut::default()
        })
    }

    /// The attributes of an inode, by an open file of it if there is one, and the stamps that were
    /// taken before.
    fn stat(
        &self,
        nodeid: u64,
        fh: Option<u64>,
    ) -> Result<(Arc<Inode>, Statx, Option<Stamps>), Errno> {
        let inode = self.inode(nodeid)?;
        let stamps = self.stamps_of(&inode);
        self.watch(&inode, None);
        let open = fh.map(|fh| self.open_file_if_any(fh)).transpose()?;
        let stat = match open.flatten() {
            Some(open) => self.lower.stat_fd(open.as_fd())?,
            None => self.lower.stat_fd(self.path_fd(&inode)?.as_fd())?,
        };
        Ok((inode, stat, stamps))
    }

    fn attr_out(&self, inode: &Inode, stat: &Statx) -> transport::wire::AttrOut {
        let mut out = attr::attr_out(self.attr(inode, stat), self.attr_validity(inode));
        self.show_attr(inode, &mut out);
        out
    }
}

fn truncate(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    let size = i64::try_from(size).map_err(|_| Errno::FBIG)?;
    let path = proc_fd::path(fd);
    retry_on_intr(|| {
        nix::unistd::truncate(path.as_c_str(), size)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))
    })
}

/// chown(2) with neither owner nor group comes as a SETATTR of nothing (`iattr_to_fattr`,
/// fs/fuse/dir.c), and natively moves ctime and clears suid and sgid. It comes from anybody: the
/// kernel finds nothing in it to forbid. It also comes before a write to a file that has something
/// to lose (see [`super::privileges`]), and such a write is the one that clears.
fn is_of_nothing(valid: SetattrValid) -> bool {
    let nothing = SetattrValid::FH | SetattrValid::LOCKOWNER | SetattrValid::KILL_SUIDGID;
    valid.difference(nothing).is_empty()
}

/// Changes owner and group for the caller: a caller without CAP_FSETID loses sgid where it is not
/// in the file's group, others do not (`setattr_should_drop_sgid`, fs/attr.c).
fn change_owner(
    thread: &mut ServeThread,
    caller: &Caller,
    fd: BorrowedFd<'_>,
    arg: &SetattrIn,
) -> Result<(), Errno> {
    let given = |flag, id: u32| match arg.valid.contains(flag) {
        true if id == u32::MAX => Err(Errno::INVAL),
        true => Ok(Some(id)),
        false => Ok(None),
    };
    let uid = given(SetattrValid::UID, arg.uid)?.map(|uid| caller.user_below(uid));
    let uid = uid.transpose()?.map(Uid::from_raw);
    let gid = given(SetattrValid::GID, arg.gid)?.map(|gid| caller.group_below(gid));
    let gid = gid.transpose()?.map(Gid::from_raw);
    let stat = rustix::fs::statat(fd, c"", AtFlags::EMPTY_PATH)?;
    let mut groups = Vec::new();
    if !caller.is_root && sgid_group(stat.st_mode, stat.st_gid).is_some() {
        // The lower file system asks of the old group and of the new one.
        let asked = [stat.st_gid, gid.map_or(stat.st_gid, Gid::as_raw)];
        groups = supplementary(caller, &asked);
    }
    let _acting = thread.creds.act_as(caller, 0, &groups)?;
    rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)
}

/// Changes the mode of what `fd`, an `O_PATH` descriptor or another, refers to.
fn chmod(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    /// Whether the kernel has fchmodat2(2) (Linux 6.6).
    static HAS_CHMOD_FD: AtomicBool = AtomicBool::new(true);
    if HAS_CHMOD_FD.load(Ordering::Relaxed) {
        match sys::chmod_fd(fd, mode) {
            Err(Errno::NOSYS) => HAS_CHMOD_FD.store(false, Ordering::Relaxed),
            result => return result,
        }
    }
    let mode = Mode::from_raw_mode(mode);
    rustix::fs::chmodat(
        proc_fd::directory()?,
        proc_fd::name(fd),
        mode,
        AtFlags::empty(),
    )
}

fn timestamps(arg: &SetattrIn) -> Timestamps {
    let time = |set, now, tv_sec: u64, tv_nsec: u32| {
        let tv_nsec = if !arg.valid.contains(set) {
            UTIME_OMIT
        } else if arg.valid.contains(now) {
            UTIME_NOW
        } else {
            tv_nsec.into()
        };
        Timespec {
            // Seconds before 1970 are negative and travel as they are.
            tv_sec: tv_sec as i64,
            tv_nsec,
        }
    };
    use SetattrValid as V;
    Timestamps {
        last_access: time(V::ATIME, V::ATIME_NOW, arg.atime, arg.atimensec),
        last_modification: time(V::MTIME, V::MTIME_NOW, arg.mtime, arg.mtimensec),
    }
}
