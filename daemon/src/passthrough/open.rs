//! OPEN, CREATE, TMPFILE, RELEASE: the life of a handle.

use super::{
    Passthrough,
    again::is_resent,
    backing_table::DataPath,
    inode::Inode,
    ledger::{Kind, file},
    names,
    open_file::{OpenFile, lower_flags},
    privileges::{changing, has_suid_or_sgid},
};
use crate::{
    config::DataChoice,
    fuse::{Answer, Backing, Body, Errno, Exchange, ServeThread},
};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd as _},
    sync::Arc,
};
use transport::wire::{
    CreateIn, EntryOut, FopenFlags, InitFlags, OpenIn, OpenInFlags, OpenOut, ReleaseFlags,
    ReleaseIn,
};

impl Passthrough {
    /// OPEN. The kernel has checked the caller's permission.
    pub(super) fn open(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        if self.config.no_open {
            return Err(Errno::NOSYS);
        }
        let OpenIn { flags, open_flags } = exchange.arg()?;
        let inode = self.inode(exchange.header().nodeid)?;
        inode.check_regular()?;
        let flags = lower_flags(flags, self.writes_back());
        let file = if flags.contains(OFlags::TRUNC) {
            let keeps = !open_flags.contains(OpenInFlags::KILL_SUIDGID);
            let path_fd = self.path_fd(&inode)?;
            let caller = self.caller(exchange.header(), &inode);
            let _acting = changing(&mut thread.creds, &caller, keeps, path_fd.as_fd())?;
            self.reopen(&inode, flags)?
        } else {
            self.reopen(&inode, flags)?
        };
        let file = File::from(file);
        let out = self.opened(thread, &inode, file, flags)?;
        exchange.reply(&out)
    }

    /// CREATE: makes a file in a directory and opens it, as the caller.
    ///
    /// The kernel has looked the name up and found nothing. If somebody has made it since, by way
    /// of the lower directory, the answer to a caller who would take that file is `ESTALE`: the
    /// kernel then walks the path once more (`do_filp_open`, fs/namei.c) and finds it, follows it
    /// if it is a symlink, and checks the caller's permission on it.
    pub(super) fn create(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: CreateIn = exchange.arg()?;
        let parent = self.inode(exchange.header().nodeid)?;
        let flags = lower_flags(request.flags, self.writes_back());
        let file = {
            let name = names::only_name(exchange)?;
            let dir = self.path_fd(&parent)?;
            let caller = self.caller(exchange.header(), &parent);
            let groups = caller.groups_below(&names::groups(exchange)?);
            let _acting = thread.creds.act_as(&caller, request.umask, &groups)?;
            let new = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let mode = creation_mode(&request);
            self.retry_on_emfile(|| rustix::fs::openat(&dir, name, new, mode))
        };
        let exclusive = request.flags & OFlags::EXCL.bits() != 0;
        let file = match file {
            // By a daemon that died before it could say so.
            Err(Errno::EXIST) if is_resent(exchange.header()) => {
                let name = names::only_name(exchange)?;
                let dir = self.path_fd(&parent)?;
                let again = (flags - OFlags::TRUNC) | OFlags::NOFOLLOW;
                let open = || rustix::fs::openat(&dir, name, again, Mode::empty());
                File::from(self.retry_on_emfile(open)?)
            }
            Err(Errno::EXIST) if !exclusive => return Err(Errno::STALE),
            file => File::from(file?),
        };
        self.created(thread, exchange, &parent, file, flags)
    }

    /// TMPFILE: makes a file without a name in a directory's file system and opens it.
    pub(super) fn tmpfile(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
    ) -> Answer {
        let request: CreateIn = exchange.arg()?;
        let parent = self.inode(exchange.header().nodeid)?;
        // O_EXCL means here that the file is never to have a name.
        let never_named = OFlags::from_bits_retain(request.flags) & OFlags::EXCL;
        let flags = lower_flags(request.flags, self.writes_back());
        let file = {
            let dir = self.path_fd(&parent)?;
            let caller = self.caller(exchange.header(), &parent);
            let groups = caller.groups_below(&names::groups(exchange)?);
            let _acting = thread.creds.act_as(&caller, request.umask, &groups)?;
            let new = flags | OFlags::TMPFILE | never_named;
            let mode = creation_mode(&request);
            self.retry_on_emfile(|| rustix::fs::openat(&dir, c".", new, mode))?
        };
        self.created(thread, exchange, &parent, File::from(file), flags)
    }

    /// RELEASE: the last descriptor of a file is closed, and nothing of it is mapped any more.
    pub(super) fn release(&self, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let request: ReleaseIn = exchange.arg()?;
        if self.is_by_nodeid(request.fh) {
            return Ok(Body::Empty);
        }
        let open = self.files.remove(request.fh).ok_or(Errno::BADF)?;
        self.locks.release_handle(open.nodeid(), request.fh);
        if request.release_flags.contains(ReleaseFlags::FLOCK_UNLOCK) {
            // A request still under way keeps the file open, and must not keep the lock.
            rustix::fs::flock(&*open, FlockOperation::Unlock)?;
        }
        self.modes.release(open.nodeid(), Some(&*self.backing));
        Ok(Body::Empty)
    }

    /// Every file is closed, every lock given up.
    pub(super) fn close_all(&self) {
        self.files.clear();
        self.locks.clear();
        self.modes.clear();
    }

    /// Tells the kernel of a new file: of the one that was opened, not of what its name may mean
    /// by now.
    fn created(
        &self,
        thread: &mut ServeThread,
        exchange: &mut (dyn Exchange + '_),
        parent: &Inode,
        file: File,
        flags: OFlags,
    ) -> Answer {
        let entry: EntryOut = self.entry_of_open(parent, file.as_fd())?;
        if self.config.no_open {
            let out = self.made_without_handle(&entry, &file)?;
            return exchange.reply2(&entry, &out);
        }
        let opened = self
            .inode(entry.nodeid)
            .and_then(|inode| self.opened(thread, &inode, file, flags));
        match opened {
            Ok(out) => exchange.reply2(&entry, &out),
            Err(errno) => {
                self.inodes.forget(entry.nodeid, 1);
                Err(errno)
            }
        }
    }

    /// Whether the kernel collects writes (`--writeback`).
    pub(super) fn writes_back(&self) -> bool {
        self.agreed(InitFlags::WRITEBACK_CACHE)
    }

    /// Gives a lower file that was opened with `flags` a handle and decides how its data travels.
    fn opened(
        &self,
        thread: &mut ServeThread,
        inode: &Inode,
        file: File,
        flags: OFlags,
    ) -> Result<OpenOut, Errno> {
        let nodeid = inode.nodeid();
        let mode = match flags & OFlags::ACCMODE {
            // Only writes change a mode.
            OFlags::RDONLY => 0,
            _ => rustix::fs::fstat(&file)?.st_mode,
        };
        let backing = self.backing_for(thread, mode)?;
        let pages = self.prefers_pages(inode, &file, flags)?;
        let data = self.modes.open(nodeid, file.as_fd(), backing, pages);
        let open = Arc::new(OpenFile::new(nodeid, file, flags, data));
        let Some(fh) = self.files.insert(Arc::clone(&open)) else {
            self.modes.release(nodeid, Some(&*self.backing));
            return Err(Errno::MFILE);
        };
        self.record_open(fh, &open);
        let (mut open_flags, backing_id) = match data {
            DataPath::Passthrough(id) => (FopenFlags::PASSTHROUGH, id.0),
            DataPath::CopyBeside(id) => (FopenFlags::PASSTHROUGH | FopenFlags::DIRECT_IO, id.0),
            DataPath::Copy => (self.copied_flags(flags), 0),
        };
        if self.closes_untold(inode, flags, data) {
            open_flags |= FopenFlags::NOFLUSH;
        }
        Ok(OpenOut {
            fh,
            open_flags,
            backing_id,
        })
    }

    /// Whether nothing depends on a FLUSH when a descriptor of a file that was opened so is closed: not the
    /// locks of fcntl(2), which are the kernel's own with `--locks mount` (`locks_remove_posix`,
    /// fs/locks.c); not the lower file system; and not pages that the kernel would write first (`fuse_flush`,
    /// fs/fuse/file.c), which only mappings of a copied file leave unwritten.
    fn closes_untold(&self, inode: &Inode, flags: OFlags, data: DataPath) -> bool {
        let reads = flags & OFlags::ACCMODE == OFlags::RDONLY;
        !self.agreed(InitFlags::POSIX_LOCKS)
            && inode.mount().closes_untold()
            && (reads || data != DataPath::Copy)
    }

    /// Records an open file for a successor of the daemon.
    fn record_open(&self, fh: u64, open: &OpenFile) {
        let Some(ledger) = &self.ledger else { return };
        let (data, backing) = match open.data() {
            DataPath::Copy => (0, 0),
            DataPath::Passthrough(id) => (1, id.0),
            DataPath::CopyBeside(id) => (2, id.0),
        };
        let words = [
            (file::HANDLE, fh),
            (file::NODEID, open.nodeid()),
            (file::FD, open.as_fd().as_raw_fd() as u64),
            (file::FLAGS, u64::from(open.flags().bits())),
            (file::DATA, data),
            (file::BACKING, backing as u64),
        ];
        open.record(ledger.add(Kind::File, &words));
    }

    /// Where to register a file of this mode, if the kernel may write it by itself. It does so
    /// with the credentials of the thread that registers it, and for all callers alike: those of a
    /// caller without privileges, so that writes clear suid, sgid and capabilities. Who may keep
    /// suid or sgid, and who shares the file's group, are told apart only by the daemon, so a file
    /// that is opened for writing while it has such bits is copied (docs/decisions/0011-privileges-of-files.md).
    fn backing_for(
        &self,
        thread: &mut ServeThread,
        mode: u32,
    ) -> Result<Option<&dyn Backing>, Errno> {
        if self.config.data == DataChoice::Copy
            || !self.agreed(InitFlags::PASSTHROUGH)
            || has_suid_or_sgid(mode)
        {
            return Ok(None);
        }
        thread.creds.without_fsetid()?;
        Ok(Some(&*self.backing))
    }

    /// What the kernel is to do with a file whose data goes through the daemon.
    fn copied_flags(&self, flags: OFlags) -> FopenFlags {
        if flags.contains(OFlags::DIRECT) && self.agreed(InitFlags::DIRECT_IO_ALLOW_MMAP) {
            // Direct writes to different places need not wait for each other.
            FopenFlags::DIRECT_IO | FopenFlags::PARALLEL_DIRECT_WRITES
        } else if self.keeps_data() && self.agreed(InitFlags::AUTO_INVAL_DATA) {
            // Pages stay while attributes are believed; a new mtime or size drops them.
            FopenFlags::KEEP_CACHE
        } else {
            FopenFlags::empty()
        }
    }
}

fn creation_mode(request: &CreateIn) -> Mode {
    Mode::from_raw_mode(request.mode & 0o7777)
}

/// How many files may be open at a time in a process that may have `limit` descriptors: whoever
/// opens more is refused (`EMFILE`), and the others can still look names up.
pub(super) fn open_max(limit: u64) -> usize {
    /// Descriptors of the daemon itself, some 60 with the kernel programs and their maps, and for
    /// requests under way.
    const RESERVE_MIN: u64 = 80;
    let reserve = (limit / 8).max(RESERVE_MIN);
    usize::try_from(limit.saturating_sub(reserve)).unwrap_or(usize::MAX)
}
