//! The file system: every operation on the lower directory.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`lower`] | LOWER, and how names below it are reached without ever leaving it |
//! | [`mount_fd`] | the mounts of the lower tree |
//! | [`file_handle`] | file handles: names of inodes that outlive descriptors |
//! | [`inode`], [`inode_store`] | the inodes the kernel knows, and their lookup counts |
//! | [`fd_cache`] | a bounded number of descriptors for them |
//! | [`creds`] | acting as the caller: fsuid, fsgid, groups, umask, CAP_FSETID of one thread |
//! | [`caller`] | who asks, by his numbers on the lower file system |
//! | [`names`], [`attr`] | what requests and replies are made of |
//! | `facts`, `changes` | what kernel programs may answer with, and what requests change |
//! | `coherent` | what `--cache coherent` asks of the file system |
//! | [`lookup`] | from a name to an inode |
//! | [`open_file`], [`handle_table`] | files that applications have open, and their handles |
//! | [`backing_table`] | which inodes the kernel reads and writes by itself |
//! | `flock` | ranges of bytes as fcntl(2) has them |
//! | [`lock_table`], [`lock_ranges`], [`lock_request`] | locks of fcntl(2) |
//! | `privileges` | what a caller may keep: suid, sgid and capabilities of files it changes |
//! | `shown` | how inodes are shown: transformations on replies and requests |
//! | `openless` | files without OPEN (`--no-open`) |
//! | `open`, `data`, `extent`, `sync`, `locks`, `xattr`, `ioctl` | the requests on them |
//! | `appends` | the order of direct writes that append |
//! | `prefetch` | directories loaded before they are asked for |
//! | [`metadata`], [`namespace`], [`directory`] | operations on attributes, names and listings |
//! | [`open_directory`] | an open directory and the entries read ahead |
//! | [`proc_fd`] | from a descriptor to a path |
//! | [`ledger`], `restore`, `again` | what outlives a daemon, and how its successor goes on |
//! | `subtree` | which directory an inode lies below |
//! | [`sys`] | system calls that neither nix nor rustix offers |

mod again;
mod appends;
pub mod attr;
pub mod backing_table;
pub mod caller;
mod changes;
mod coherent;
pub mod creds;
mod data;
pub mod directory;
#[cfg(test)]
mod directory_tests;
mod extent;
mod facts;
pub mod fd_cache;
pub mod file_handle;
mod flock;
pub mod handle_table;
pub mod inode;
pub mod inode_store;
mod ioctl;
pub mod ledger;
pub mod lock_ranges;
pub mod lock_request;
pub mod lock_table;
mod locks;
pub mod lookup;
#[cfg(test)]
mod lookup_tests;
pub mod lower;
#[cfg(test)]
mod lower_tests;
pub mod metadata;
#[cfg(test)]
mod metadata_tests;
pub mod mount_fd;
pub mod names;
pub mod namespace;
#[cfg(test)]
mod namespace_tests;
mod open;
pub mod open_directory;
pub mod open_file;
#[cfg(test)]
mod open_file_tests;
#[cfg(test)]
mod open_tests;
mod openless;
mod prefetch;
mod privileges;
pub mod proc_fd;
mod reread;
mod restore;
mod shown;
mod subtree;
mod sync;
pub mod sys;
#[cfg(test)]
mod testing;
mod told;
mod xattr;

use crate::{
    answers::{AnswerMemory, Answers},
    bpf::changes::Changes,
    coherence::{self, Coherence},
    config::Config,
    error::{Error, Result},
    fuse::{Answer, Backing, Device, Errno, Exchange, FileSystem, Negotiated, ServeThread},
    rules::serving::Rules,
    transform::{Rule, Transforms},
};
use backing_table::BackingTable;
use fd_cache::FdCache;
use handle_table::HandleTable;
use inode::{FdSlot, Identity, Inode, Place, device_of};
use inode_store::InodeStore;
use ledger::Ledger;
use lock_table::LockTable;
use lower::Lower;
use open_directory::OpenDirectory;
use open_file::OpenFile;
use rustix::fs::{AtFlags, OFlags};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use transport::wire::{InHeader, InitFlags, Opcode, ROOT_ID};

/// A file system that passes every operation on to a lower directory.
pub struct Passthrough {
    config: Config,
    negotiated: OnceLock<Negotiated>,
    lower: Lower,
    inodes: InodeStore,
    fds: FdCache,
    directories: HandleTable<OpenDirectory>,
    backing: Arc<dyn Backing>,
    files: HandleTable<OpenFile>,
    modes: BackingTable,
    locks: LockTable,
    writers: privileges::Writers,
    answers: OnceLock<Arc<Answers>>,
    coherence: Option<Arc<Coherence>>,
    transforms: Transforms,
    device: OnceLock<Device>,
    prefetch: prefetch::Prefetch,
    ledger: Option<Arc<Ledger>>,
    rules: OnceLock<Arc<Rules>>,
    appends: appends::AppendTable,
}

impl Passthrough {
    /// Opens the lower directory. To be made before the mount: what is mounted below LOWER
    /// afterwards, the mount itself above all, is not seen (see [`lower`]).
    ///
    /// # Errors
    ///
    /// What opening LOWER says.
    pub fn new(config: &Config, backing: Arc<dyn Backing>) -> Result<Self> {
        Self::check(config)?;
        Self::with_lower(config, backing, Lower::open(&config.lower)?, 1)
    }

    /// Refuses what nobody should have.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn check(config: &Config) -> Result<()> {
        if config.mount.allow_other && !config.mount.default_permissions {
            return Err(Error::Unsupported {
                what: "other users are allowed in, and nobody would check their permissions".into(),
                remedy: "add -o default_permissions, or leave out allow_other".into(),
            });
        }
        Ok(())
    }

    /// With LOWER open; handles of the first generation are of `first_generation`.
    fn with_lower(
        config: &Config,
        backing: Arc<dyn Backing>,
        lower: Lower,
        first_generation: u32,
    ) -> Result<Self> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = limit.current.unwrap_or(u64::MAX);
        let fds = FdCache::new(limit).with_room(lower.root());
        let root = root_inode(&lower, &fds)
            .map_err(|e| Error::path("cannot read the lower directory", &config.lower, e))?;
        Ok(Self {
            config: config.clone(),
            negotiated: OnceLock::new(),
            inodes: InodeStore::new(Arc::new(root)),
            lower,
            fds,
            directories: HandleTable::of(usize::MAX, first_generation),
            backing,
            files: HandleTable::of(open::open_max(limit), first_generation),
            modes: BackingTable::default(),
            locks: LockTable::default(),
            writers: privileges::Writers::default(),
            answers: OnceLock::new(),
            coherence: None,
            transforms: Transforms::default(),
            device: OnceLock::new(),
            prefetch: prefetch::Prefetch::default(),
            ledger: None,
            rules: OnceLock::new(),
            appends: appends::AppendTable::default(),
        })
    }

    /// How many inodes the kernel knows, the root included: at least 1.
    pub fn inode_count(&self) -> usize {
        let ahead = self.prefetch.held_alone(self);
        self.inodes.inode_count().saturating_sub(ahead).max(1)
    }

    /// The inode that the kernel calls `nodeid`.
    ///
    /// # Errors
    ///
    /// `ESTALE` if there is none.
    pub(crate) fn inode(&self, nodeid: u64) -> Result<Arc<Inode>, Errno> {
        self.inodes.get(nodeid)
    }

    /// An `O_PATH` descriptor of `inode`, from the cache or made by its handle.
    ///
    /// # Errors
    ///
    /// `ESTALE` if the lower inode is gone; `EMFILE` or `ENFILE`.
    pub(crate) fn path_fd(&self, inode: &Arc<Inode>) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(fd) = inode.present_fd() {
            return Ok(fd);
        }
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        let fd =
            self.retry_on_emfile(|| inode.open_by_handle(flags).unwrap_or(Err(Errno::STALE)))?;
        Ok(self.fds.admit(inode, fd))
    }

    /// Opens `inode`, not a symlink, with `flags` (`O_CLOEXEC` is added, `O_NOFOLLOW` and
    /// `O_CREAT` have no place here). Permissions are checked for the thread's present identity,
    /// of which open_by_handle_at(2) demands CAP_DAC_READ_SEARCH.
    ///
    /// # Errors
    ///
    /// Those of open(2); `ESTALE` if the lower inode is gone.
    pub(crate) fn reopen(&self, inode: &Arc<Inode>, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.retry_on_emfile(|| {
            let by_handle = inode.open_by_handle((flags | OFlags::CLOEXEC).bits() as i32);
            by_handle.unwrap_or_else(|| proc_fd::reopen(self.path_fd(inode)?.as_fd(), flags))
        })
    }

    /// Does `open`; if the process has no descriptor left, closes the cached ones and tries once
    /// more.
    ///
    /// # Errors
    ///
    /// What `open` says in the end.
    pub(crate) fn retry_on_emfile<T>(
        &self,
        open: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match open() {
            Err(Errno::MFILE | Errno::NFILE) if self.fds.shed() => open(),
            result => result,
        }
    }

    /// How long replies are valid.
    pub(crate) fn ttl(&self) -> Duration {
        self.config.cache.ttl()
    }

    /// Whether kernel and daemon agreed on `flag` at INIT.
    pub(crate) fn agreed(&self, flag: InitFlags) -> bool {
        self.negotiated
            .get()
            .is_some_and(|n| n.flags.contains(flag))
    }

    /// An `O_PATH` descriptor of what `fd` refers to.
    fn path_fd_of(&self, fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        self.retry_on_emfile(|| proc_fd::reopen(fd, OFlags::PATH))
    }

    fn dispatch(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        match exchange.header().opcode {
            Opcode::LOOKUP => self.lookup(exchange),
            Opcode::OPEN => self.open(thread, exchange),
            Opcode::CREATE => self.create(thread, exchange),
            Opcode::TMPFILE => self.tmpfile(thread, exchange),
            Opcode::READ => self.read(exchange),
            Opcode::WRITE => self.write(thread, exchange),
            Opcode::FLUSH => self.flush(exchange),
            Opcode::RELEASE => self.release(exchange),
            Opcode::FSYNC => self.fsync(exchange),
            Opcode::SYNCFS => self.syncfs(exchange),
            Opcode::LSEEK => self.lseek(exchange),
            Opcode::FALLOCATE => self.fallocate(thread, exchange),
            Opcode::COPY_FILE_RANGE | Opcode::COPY_FILE_RANGE_64 => {
                self.copy_file_range(thread, exchange)
            }
            Opcode::GETLK => self.getlk(exchange),
            Opcode::SETLK | Opcode::SETLKW => self.setlk(thread, exchange),
            Opcode::GETXATTR => self.getxattr(exchange),
            Opcode::SETXATTR => self.setxattr(thread, exchange),
            Opcode::LISTXATTR => self.listxattr(exchange),
            Opcode::REMOVEXATTR => self.removexattr(thread, exchange),
            Opcode::IOCTL => self.ioctl(thread, exchange),
            Opcode::POLL => self.poll(exchange),
            Opcode::BMAP => self.bmap(),
            Opcode::GETATTR => self.getattr(exchange),
            Opcode::STATX => self.statx(exchange),
            Opcode::SETATTR => self.setattr(thread, exchange),
            Opcode::ACCESS => self.access(thread, exchange),
            Opcode::READLINK => self.readlink(exchange),
            Opcode::STATFS => self.statfs(exchange),
            Opcode::SYMLINK => self.symlink(thread, exchange),
            Opcode::MKNOD => self.mknod(thread, exchange),
            Opcode::MKDIR => self.mkdir(thread, exchange),
            Opcode::UNLINK => self.unlink(exchange, AtFlags::empty()),
            Opcode::RMDIR => self.unlink(exchange, AtFlags::REMOVEDIR),
            Opcode::RENAME => self.rename(thread, exchange),
            Opcode::RENAME2 => self.rename2(thread, exchange),
            Opcode::LINK => self.link(exchange),
            Opcode::OPENDIR => self.opendir(exchange),
            Opcode::READDIR => self.readdir(exchange),
            Opcode::READDIRPLUS => self.readdirplus(exchange),
            Opcode::RELEASEDIR => self.releasedir(exchange),
            Opcode::FSYNCDIR => self.fsyncdir(exchange),
            _ => Err(Errno::NOSYS),
        }
    }
}

impl FileSystem for Passthrough {
    fn init(&self, negotiated: &Negotiated) {
        // A second INIT cannot come on one connection.
        let _ = self.negotiated.set(*negotiated);
    }

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let _change = self.change_by(exchange);
        let at_stake = self.names_at_stake(exchange);
        let answer = self.dispatch_again(thread, exchange);
        if let Some(ledger) = &self.ledger {
            ledger.set_lock_owners(self.locks.len());
        }
        if answer.is_err() {
            self.doubt(&at_stake);
        }
        answer
    }

    fn forget(&self, nodeid: u64, nlookup: u64) {
        self.forget_lookups(nodeid, nlookup);
    }

    fn may_block(&self, header: &InHeader, _fixed: &[u8]) -> bool {
        header.opcode == Opcode::SETLKW
    }

    fn may_wait(&self, header: &InHeader, fixed: &[u8]) -> bool {
        self.waits_for_append(header, fixed)
    }

    fn noticed_device(&self) -> Option<(u32, u32)> {
        self.told_device()
    }

    fn show_by(&self, rules: &[Rule]) {
        self.transform_by(rules);
        self.record_rules(rules.is_empty());
    }

    fn use_answers(self: Arc<Self>, memory: Box<dyn AnswerMemory>) {
        let answers = Arc::new(Answers::new(memory, self.inodes.root().device()));
        self.inodes.answered_by(&answers);
        for (number, transform) in self.transforms.read().iter() {
            answers.transform(number, transform);
        }
        // Called once.
        let _ = self.answers.set(answers);
        if let Err(error) = self.start_prefetch() {
            tracing::error!("directories are not loaded ahead: {error}");
        }
    }

    fn use_rules(&self, rules: Arc<Rules>) {
        // Called once.
        let _ = self.rules.set(rules);
    }

    fn is_within(&self, nodeid: u64, directory: u64) -> bool {
        self.lies_within(nodeid, directory)
    }

    fn number_of(&self, path: &str) -> Result<u64> {
        self.number_of_directory(path)
    }

    fn holdings(&self) -> String {
        self.told_holdings()
    }

    fn mounted(self: Arc<Self>, device: &Device, changes: Option<Changes>) -> Result<()> {
        // Called once.
        let _ = self.device.set(device.clone());
        match self.coherence.clone() {
            Some(coherence) => coherence::revoker::start(&coherence, device.clone(), self, changes),
            None => Ok(()),
        }
    }

    fn destroy(&self) {
        self.prefetch.stop();
        if let Some(coherence) = &self.coherence {
            coherence.stop();
        }
        self.close_all();
        self.directories.clear();
        self.inodes.clear();
    }
}

/// Whether the inodes of this directory's file system are known, and found again, by file handles.
///
/// # Errors
///
/// The directory cannot be opened or examined.
pub fn knows_by_handle(path: &Path) -> Result<bool> {
    let lower = Lower::open(path)?;
    let (identity, ..) = lookup::identify(&lower, lower.root())
        .map_err(|errno| Error::path("cannot examine", path, errno))?;
    Ok(matches!(identity, Identity::Handle { .. }))
}

fn root_inode(lower: &Lower, fds: &FdCache) -> Result<Inode, Errno> {
    let (identity, mount, stat) = lookup::identify(lower, lower.root())?;
    // The root's descriptor is needed all the time, whatever its identity.
    let fd = rustix::io::fcntl_dupfd_cloexec(lower.root(), 0)?;
    let slot = FdSlot::Held(Arc::new(fd), fds.permit()?);
    let place = Place {
        submount: false,
        number_tag: lower.number_tag(device_of(&stat)),
    };
    Ok(Inode::new(ROOT_ID, identity, mount, &stat, place, slot))
}
