//! A pass-through file system on a scratch directory, without a kernel.

use super::Passthrough;
use crate::{
    config::{CachePolicy, Config, DataChoice},
    fuse::{Backing, BackingId, Errno, FileSystem, Negotiated, ServeThread, testing::FakeExchange},
};
use rustix::fs::OFlags;
use std::{
    collections::HashSet,
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI32, Ordering},
    },
};
use tempfile::TempDir;
use transport::wire::{
    CreateIn, EntryOut, InitFlags, Opcode, OpenIn, OpenInFlags, OpenOut, ROOT_ID, ReadIn,
    ReleaseFlags, ReleaseIn, WriteFlags, WriteIn, WriteOut,
};

/// Where tests make their scratch directories: a disk file system and a memory file system.
pub(super) fn places() -> [PathBuf; 2] {
    [std::env::temp_dir(), PathBuf::from("/dev/shm")]
}

/// Whether this process may do as it likes; tests of other users' rights need it.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The kernel's register of backing files.
#[derive(Debug, Default)]
pub(super) struct FakeBacking {
    last: AtomicI32,
    open: Mutex<HashSet<i32>>,
}

impl FakeBacking {
    pub(super) fn count(&self) -> usize {
        self.open.lock().unwrap().len()
    }
}

impl Backing for FakeBacking {
    fn open(&self, _: BorrowedFd<'_>) -> io::Result<BackingId> {
        let id = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.lock().unwrap().insert(id);
        Ok(BackingId(id))
    }

    fn close(&self, id: BackingId) -> io::Result<()> {
        assert!(self.open.lock().unwrap().remove(&id.0), "closed twice");
        Ok(())
    }
}

/// A file system, the thread that serves it, and its lower directory.
pub(super) struct Scratch {
    pub(super) dir: TempDir,
    pub(super) fs: Passthrough,
    pub(super) thread: ServeThread,
    pub(super) backing: Arc<FakeBacking>,
}

impl Scratch {
    /// In `place`, with data copied.
    pub(super) fn new(place: &Path) -> Self {
        Self::with(place, DataChoice::Copy, CachePolicy::Strict)
    }

    /// In `place`.
    pub(super) fn with(place: &Path, data: DataChoice, cache: CachePolicy) -> Self {
        let dir = TempDir::new_in(place).unwrap();
        let config = Config {
            data,
            cache,
            ..Config::plain(dir.path(), "/nowhere")
        };
        let backing = Arc::new(FakeBacking::default());
        let fs = Passthrough::new(&config, Arc::clone(&backing) as _).unwrap();
        fs.init(&Negotiated {
            minor: transport::wire::KERNEL_MINOR_VERSION,
            flags: InitFlags::all() - InitFlags::WRITEBACK_CACHE,
            max_write: 1 << 20,
            max_pages: 256,
        });
        Self {
            dir,
            fs,
            thread: ServeThread::enter().unwrap(),
            backing,
        }
    }

    /// Opens the lower directory anew, as a daemon that starts now: mounts made since are seen.
    pub(super) fn reopen(&mut self) {
        let backing = Arc::clone(&self.backing);
        let fs = Passthrough::new(&self.fs.config, backing as _).unwrap();
        fs.init(self.fs.negotiated.get().unwrap());
        self.fs = fs;
    }

    /// The lower file `name`.
    pub(super) fn lower(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Asks for nothing but success or an errno.
    pub(super) fn ask(&mut self, request: FakeExchange) -> Result<Vec<u8>, Errno> {
        request.ask(&self.fs, &mut self.thread)
    }

    /// Asks for a structure.
    pub(super) fn ask_for<T: bytemuck::Pod>(&mut self, request: FakeExchange) -> Result<T, Errno> {
        request.ask_for(&self.fs, &mut self.thread)
    }

    /// The nodeid of `name` in the root.
    pub(super) fn lookup(&mut self, name: &str) -> u64 {
        let request = FakeExchange::new(Opcode::LOOKUP, ROOT_ID).name(name);
        self.ask_for::<EntryOut>(request).unwrap().nodeid
    }

    /// OPEN.
    pub(super) fn open(&mut self, nodeid: u64, flags: OFlags) -> Result<OpenOut, Errno> {
        self.ask_for(FakeExchange::new(Opcode::OPEN, nodeid).arg(&OpenIn {
            flags: flags.bits(),
            open_flags: OpenInFlags::empty(),
        }))
    }

    /// Makes the lower file `name` with this content and opens it.
    pub(super) fn file(&mut self, name: &str, content: &[u8], flags: OFlags) -> (u64, u64) {
        std::fs::write(self.lower(name), content).unwrap();
        let nodeid = self.lookup(name);
        (nodeid, self.open(nodeid, flags).unwrap().fh)
    }

    /// CREATE in the root by a user.
    pub(super) fn create(
        &mut self,
        name: &str,
        flags: OFlags,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<(EntryOut, OpenOut), Errno> {
        let request = FakeExchange::new(Opcode::CREATE, ROOT_ID)
            .by(uid, gid)
            .arg(&CreateIn {
                flags: flags.bits(),
                mode: 0o100_000 | mode,
                umask: 0o022,
                open_flags: OpenInFlags::empty(),
            })
            .name(name);
        let body = self.ask(request)?;
        let (entry, open) = body.split_at(size_of::<EntryOut>());
        Ok((
            bytemuck::pod_read_unaligned(entry),
            bytemuck::pod_read_unaligned(open),
        ))
    }

    /// WRITE by root, with the status flags that the application's file has.
    pub(super) fn write(
        &mut self,
        (nodeid, fh): (u64, u64),
        offset: u64,
        data: &[u8],
        flags: OFlags,
        write_flags: WriteFlags,
    ) -> Result<u32, Errno> {
        let request = FakeExchange::new(Opcode::WRITE, nodeid)
            .arg(&WriteIn {
                fh,
                offset,
                size: data.len() as u32,
                write_flags,
                flags: flags.bits(),
                ..WriteIn::default()
            })
            .bytes(data);
        self.ask_for::<WriteOut>(request).map(|out| out.size)
    }

    /// READ.
    pub(super) fn read(
        &mut self,
        (nodeid, fh): (u64, u64),
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, Errno> {
        self.ask(FakeExchange::new(Opcode::READ, nodeid).arg(&ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        }))
    }

    /// RELEASE.
    pub(super) fn release(&mut self, (nodeid, fh): (u64, u64)) -> Result<(), Errno> {
        let request = FakeExchange::new(Opcode::RELEASE, nodeid).arg(&ReleaseIn {
            fh,
            flags: 0,
            release_flags: ReleaseFlags::empty(),
            lock_owner: 0,
        });
        self.ask(request).map(drop)
    }
}
