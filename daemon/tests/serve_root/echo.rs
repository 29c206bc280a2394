//! A file system of a few files, each with a trait that a test is about, over one lower file.

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::OFlags;
use shmfuse::fuse::{Answer, Body, Errno, Exchange, FileSystem, Negotiated, ServeThread};
use std::{
    fs::File,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use transport::wire::*;

/// The files, all of them with the lower file's contents. The nodeid is 2 + the index.
pub const FILES: [&str; 5] = ["direct", "cached", "append", "odirect", "panic"];

/// The file system.
pub struct Echo {
    lower: PathBuf,
    open: Mutex<Vec<Arc<File>>>,
    negotiated: Mutex<Option<Negotiated>>,
    /// What FORGET took back, less what LOOKUP gave.
    pub looked_up: AtomicU64,
    /// Whether the connection has ended.
    pub destroyed: AtomicBool,
    /// Whether a SETLKW is being served.
    pub waits: AtomicBool,
}

impl Echo {
    /// Over the file `lower`.
    pub fn new(lower: &Path) -> Self {
        Self {
            lower: lower.into(),
            open: Mutex::default(),
            negotiated: Mutex::default(),
            looked_up: AtomicU64::new(0),
            destroyed: AtomicBool::new(false),
            waits: AtomicBool::new(false),
        }
    }

    /// What was agreed on.
    pub fn negotiated(&self) -> Negotiated {
        self.negotiated.lock().unwrap().expect("after INIT")
    }

    fn attr(&self, nodeid: u64) -> Attr {
        let lower = std::fs::metadata(&self.lower).expect("the lower file is there");
        let is_root = nodeid == ROOT_ID;
        Attr {
            ino: nodeid,
            size: lower.size(),
            mode: if is_root { 0o040_755 } else { 0o100_666 },
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        }
    }

    fn lookup(&self, exchange: &mut dyn Exchange) -> Answer {
        let name = exchange.payload().strip_suffix(&[0]).ok_or(Errno::INVAL)?;
        let index = FILES.iter().position(|file| file.as_bytes() == name);
        let nodeid = 2 + index.ok_or(Errno::NOENT)? as u64;
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        exchange.reply(&EntryOut {
            nodeid,
            attr: self.attr(nodeid),
            ..EntryOut::default()
        })
    }

    fn open(&self, exchange: &mut dyn Exchange) -> Answer {
        let name = FILES[exchange.header().nodeid as usize - 2];
        let extra = match name {
            "append" => OFlags::APPEND,
            "odirect" => OFlags::DIRECT,
            "panic" => panic!("a panic in OPEN"),
            _ => OFlags::empty(),
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | extra;
        let file = rustix::fs::open(&self.lower, flags, rustix::fs::Mode::empty())?;
        let mut open = self.open.lock().unwrap();
        open.push(Arc::new(file.into()));
        let open_flags = match name {
            "cached" => FopenFlags::empty(),
            _ => FopenFlags::DIRECT_IO,
        };
        exchange.reply(&OpenOut {
            fh: open.len() as u64 - 1,
            open_flags,
            ..OpenOut::default()
        })
    }

    fn file(&self, fh: u64) -> Arc<File> {
        Arc::clone(&self.open.lock().unwrap()[fh as usize])
    }

    fn set_lock(&self, thread: &ServeThread, exchange: &dyn Exchange, wait: bool) -> Answer {
        let LkIn { fh, lk, .. } = exchange.arg()?;
        let lock = whole_file(lk);
        let file = self.file(fh);
        self.waits.store(wait, Ordering::Release);
        loop {
            let arg = match wait {
                true => FcntlArg::F_OFD_SETLKW(&lock),
                false => FcntlArg::F_OFD_SETLK(&lock),
            };
            match fcntl(file.as_fd(), arg) {
                Ok(_) => return Ok(Body::Empty),
                Err(nix::errno::Errno::EINTR) if !thread.interrupted() => {}
                Err(errno) => return Err(Errno::from_raw_os_error(errno as i32)),
            }
        }
    }
}

/// The whole file or nothing: all that the tests lock.
fn whole_file(lk: FileLock) -> nix::libc::flock {
    nix::libc::flock {
        l_type: lk.kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

impl FileSystem for Echo {
    fn init(&self, negotiated: &Negotiated) {
        *self.negotiated.lock().unwrap() = Some(*negotiated);
    }

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let header = *exchange.header();
        match header.opcode {
            Opcode::LOOKUP => self.lookup(exchange),
            Opcode::GETATTR => exchange.reply(&AttrOut {
                attr: self.attr(header.nodeid),
                ..AttrOut::default()
            }),
            Opcode::SETATTR => {
                let setattr: SetattrIn = exchange.arg()?;
                if setattr.valid.contains(SetattrValid::SIZE) {
                    let lower = File::options().write(true).open(&self.lower);
                    lower
                        .and_then(|lower| lower.set_len(setattr.size))
                        .map_err(|_| Errno::IO)?;
                }
                exchange.reply(&AttrOut {
                    attr: self.attr(header.nodeid),
                    ..AttrOut::default()
                })
            }
            Opcode::OPEN => self.open(exchange),
            Opcode::READ => {
                let read: ReadIn = exchange.arg()?;
                Ok(Body::File {
                    file: self.file(read.fh),
                    offset: read.offset,
                    len: read.size as usize,
                })
            }
            Opcode::WRITE => {
                let write: WriteIn = exchange.arg()?;
                let file = self.file(write.fh);
                let size = exchange.write_to(file.as_fd(), write.offset, write.size as usize)?;
                exchange.reply(&WriteOut {
                    size: size as u32,
                    padding: 0,
                })
            }
            Opcode::SETLK => self.set_lock(thread, exchange, false),
            Opcode::SETLKW => self.set_lock(thread, exchange, true),
            Opcode::FLUSH | Opcode::RELEASE | Opcode::ACCESS => Ok(Body::Empty),
            _ => Err(Errno::NOSYS),
        }
    }

    fn forget(&self, _: u64, nlookup: u64) {
        self.looked_up.fetch_sub(nlookup, Ordering::Relaxed);
    }

    fn may_block(&self, header: &InHeader, _: &[u8]) -> bool {
        header.opcode == Opcode::SETLKW
    }

    fn destroy(&self) {
        self.destroyed.store(true, Ordering::Release);
    }
    fn holdings(&self) -> String {
        format!("open={}", self.open.lock().unwrap().len())
    }
}
