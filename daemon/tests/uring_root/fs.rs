//! The smallest file system that shows what a transport does: 64 files `d0`..`d63` that are read
//! and written directly, 64 files `c0`..`c63` through the page cache, each a memfd, and whole-file
//! locks. Nothing is cached by timeout: each stat asks.

use rustix::fs::{MemfdFlags, fstat, memfd_create};
use shmfuse::fuse::{Answer, Body, Errno, Exchange, FileSystem, Negotiated, ServeThread};
use std::{
    collections::HashMap,
    fs::File,
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use transport::wire::{
    Attr, AttrOut, EntryOut, FopenFlags, InHeader, LkIn, Opcode, OpenOut, ROOT_ID, ReadIn,
    SetattrIn, SetattrValid, StatfsOut, WriteIn, WriteOut,
};

/// Files of each kind.
const FILES: u64 = 64;
/// Nodeid of `d0`.
const DIRECT: u64 = 2;
/// Nodeid of `c0`.
const CACHED: u64 = DIRECT + FILES;
/// The file whose READ takes half a second.
pub const SLOW: &str = "d63";
const SLOW_NODEID: u64 = DIRECT + 63;
const SLOW_TIME: Duration = Duration::from_millis(500);
/// The name whose LOOKUP panics.
const PANIC: &[u8] = b"panic";

/// The file system. `delay` is added to each READ and WRITE.
#[derive(Debug)]
pub struct TestFs {
    files: Vec<Arc<File>>,
    /// By nodeid: the owner of the lock.
    locks: Mutex<HashMap<u64, u64>>,
    unlocked: Condvar,
    delay: Duration,
    /// Requests so far that had to wait for a lock.
    pub waited: AtomicU64,
    /// Files opened so far.
    pub opened: AtomicU64,
}

impl TestFs {
    /// Empty files.
    pub fn new(delay: Duration) -> Self {
        let file = |_| {
            let fd = memfd_create("uring_root", MemfdFlags::CLOEXEC).expect("memfd_create");
            Arc::new(File::from(fd))
        };
        Self {
            files: (0..2 * FILES).map(file).collect(),
            locks: Mutex::default(),
            unlocked: Condvar::new(),
            delay,
            waited: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }
    }

    fn file(&self, nodeid: u64) -> Result<&Arc<File>, Errno> {
        let index = nodeid.checked_sub(DIRECT).ok_or(Errno::ISDIR)?;
        self.files.get(index as usize).ok_or(Errno::NOENT)
    }

    fn attr(&self, nodeid: u64) -> Result<Attr, Errno> {
        let directory = nodeid == ROOT_ID;
        let size = if directory {
            0
        } else {
            fstat(self.file(nodeid)?)?.st_size as u64
        };
        Ok(Attr {
            ino: nodeid,
            size,
            mode: if directory { 0o40755 } else { 0o100644 },
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        })
    }

    fn lookup(&self, name: &[u8]) -> Result<EntryOut, Errno> {
        assert_ne!(name, PANIC, "asked to panic");
        let (kind, number) = name.split_first().ok_or(Errno::NOENT)?;
        let first = match kind {
            b'd' => DIRECT,
            b'c' => CACHED,
            _ => return Err(Errno::NOENT),
        };
        let number = std::str::from_utf8(number)
            .ok()
            .and_then(|n| n.parse().ok());
        let number: u64 = number.filter(|n| *n < FILES).ok_or(Errno::NOENT)?;
        let nodeid = first + number;
        Ok(EntryOut {
            nodeid,
            attr: self.attr(nodeid)?,
            ..EntryOut::default()
        })
    }

    fn set_lock(&self, thread: &ServeThread, nodeid: u64, lk: &LkIn, wait: bool) -> Answer {
        let mut locks = self.locks.lock().unwrap();
        if lk.lk.kind == libc::F_UNLCK as u32 {
            if locks.get(&nodeid) == Some(&lk.owner) {
                locks.remove(&nodeid);
                self.unlocked.notify_all();
            }
            return Ok(Body::Empty);
        }
        let mut waited = false;
        while locks.get(&nodeid).is_some_and(|owner| *owner != lk.owner) {
            if !wait {
                return Err(Errno::AGAIN);
            }
            if thread.interrupted() {
                return Err(Errno::INTR);
            }
            if !std::mem::replace(&mut waited, true) {
                self.waited.fetch_add(1, Ordering::Relaxed);
            }
            let tick = Duration::from_millis(20);
            locks = self.unlocked.wait_timeout(locks, tick).unwrap().0;
        }
        locks.insert(nodeid, lk.owner);
        Ok(Body::Empty)
    }

    fn release_locks_of(&self, nodeid: u64, owner: u64) {
        let mut locks = self.locks.lock().unwrap();
        if locks.get(&nodeid) == Some(&owner) {
            locks.remove(&nodeid);
            self.unlocked.notify_all();
        }
    }
}

impl FileSystem for TestFs {
    fn init(&self, _: &Negotiated) {}

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let InHeader { opcode, nodeid, .. } = *exchange.header();
        match opcode {
            Opcode::LOOKUP => {
                let name = exchange.payload().strip_suffix(&[0]).ok_or(Errno::INVAL)?;
                let entry = self.lookup(name)?;
                exchange.reply(&entry)
            }
            Opcode::GETATTR => exchange.reply(&AttrOut {
                attr: self.attr(nodeid)?,
                ..AttrOut::default()
            }),
            Opcode::SETATTR => {
                let arg: SetattrIn = exchange.arg()?;
                if arg.valid.contains(SetattrValid::SIZE) {
                    rustix::fs::ftruncate(self.file(nodeid)?.as_fd(), arg.size)?;
                }
                exchange.reply(&AttrOut {
                    attr: self.attr(nodeid)?,
                    ..AttrOut::default()
                })
            }
            Opcode::OPEN => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                exchange.reply(&OpenOut {
                    open_flags: if nodeid < CACHED {
                        FopenFlags::DIRECT_IO
                    } else {
                        FopenFlags::empty()
                    },
                    ..OpenOut::default()
                })
            }
            Opcode::OPENDIR => exchange.reply(&OpenOut::default()),
            Opcode::READ => {
                let ReadIn { offset, size, .. } = exchange.arg()?;
                std::thread::sleep(if nodeid == SLOW_NODEID {
                    SLOW_TIME
                } else {
                    self.delay
                });
                Ok(Body::File {
                    file: Arc::clone(self.file(nodeid)?),
                    offset,
                    len: size as usize,
                })
            }
            Opcode::WRITE => {
                let WriteIn { offset, size, .. } = exchange.arg()?;
                std::thread::sleep(self.delay);
                let file = Arc::clone(self.file(nodeid)?);
                let written = exchange.write_to(file.as_fd(), offset, size as usize)?;
                exchange.reply(&WriteOut {
                    size: written as u32,
                    padding: 0,
                })
            }
            Opcode::STATFS => exchange.reply(&StatfsOut {
                namelen: 255,
                bsize: 4096,
                ..StatfsOut::default()
            }),
            Opcode::SETLK => self.set_lock(thread, nodeid, &exchange.arg()?, false),
            Opcode::SETLKW => self.set_lock(thread, nodeid, &exchange.arg()?, true),
            Opcode::FLUSH => {
                let flush: transport::wire::FlushIn = exchange.arg()?;
                self.release_locks_of(nodeid, flush.lock_owner);
                Ok(Body::Empty)
            }
            Opcode::RELEASE | Opcode::RELEASEDIR | Opcode::FSYNC => Ok(Body::Empty),
            _ => Err(Errno::NOSYS),
        }
    }

    fn forget(&self, _: u64, _: u64) {}

    fn may_block(&self, header: &InHeader, _: &[u8]) -> bool {
        header.opcode == Opcode::SETLKW
    }

    fn destroy(&self) {}

    fn holdings(&self) -> String {
        String::new()
    }
}
