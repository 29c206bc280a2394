//! An open directory: the entries read from below and not yet asked for.

use super::{ledger::Recorded, sys};
use crate::fuse::Errno;
use rustix::fs::SeekFrom;
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Bytes that are read of a directory at a time, as glibc's readdir(3) does.
const BUFFER_LEN: usize = 32 * 1024;

/// Offset of each field in `struct linux_dirent64` (include/linux/dirent.h).
const INO: usize = 0;
const OFF: usize = 8;
const RECLEN: usize = 16;
const KIND: usize = 18;
const NAME: usize = 19;

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its inode number, as the directory has it.
    pub number: u64,
    /// Where the entry behind it begins.
    pub next: u64,
    /// `DT_*`.
    pub kind: u8,
    /// Its name.
    pub name: &'a CStr,
    /// Bytes in the buffer.
    len: usize,
}

impl<'a> Entry<'a> {
    /// Whether it says that it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == libc::DT_DIR
    }

    /// The entry at the start of `bytes`; `None` at their end.
    ///
    /// # Errors
    ///
    /// `EIO` if the bytes are no entry.
    fn parse(bytes: &'a [u8]) -> Result<Option<Self>, Errno> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let number = |at: usize, len: usize| -> Result<&'a [u8], Errno> {
            bytes.get(at..at + len).ok_or(Errno::IO)
        };
        let u64_at = |at| number(at, 8).map(bytemuck::pod_read_unaligned::<u64>);
        let len = usize::from(bytemuck::pod_read_unaligned::<u16>(number(RECLEN, 2)?));
        let name = bytes.get(NAME..len).ok_or(Errno::IO)?;
        Ok(Some(Self {
            number: u64_at(INO)?,
            next: u64_at(OFF)?,
            kind: number(KIND, 1)?[0],
            name: CStr::from_bytes_until_nul(name).map_err(|_| Errno::IO)?,
            len,
        }))
    }
}

/// A directory that an application has open.
#[derive(Debug)]
pub struct OpenDirectory {
    /// Dropped before the descriptor is closed.
    recorded: OnceLock<Recorded>,
    fd: OwnedFd,
    entries: Mutex<Entries>,
}

/// The entries around an offset.
#[derive(Debug, Default)]
pub struct Entries {
    /// As getdents64(2) left them.
    bytes: Vec<u8>,
    /// Where the next entry begins in `bytes`.
    at: usize,
    /// The offset of that entry in the directory.
    offset: u64,
    /// Whether anything was read: only then does the start have to be sought.
    started: bool,
}

impl OpenDirectory {
    /// `fd` is open for reading, and nothing was read.
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            recorded: OnceLock::new(),
            fd,
            entries: Mutex::default(),
        }
    }

    /// It is recorded there from now on, for a successor of the daemon; once.
    pub(super) fn record(&self, recorded: Option<Recorded>) {
        if let Some(recorded) = recorded {
            let _ = self.recorded.set(recorded);
        }
    }

    /// A predecessor has read of it: wherever the next reader begins, that is to be sought.
    pub(super) fn begun_before(&self) {
        /// No entry has it.
        const NOWHERE: u64 = u64::MAX;
        let mut entries = self.entries();
        (entries.started, entries.offset) = (true, NOWHERE);
    }

    /// Its entries, for one reader at a time.
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Entries {
    /// Goes to `offset`: 0, or what an entry had as [`next`](Entry::next). At 0 the directory is
    /// read afresh, as after rewinddir(3).
    ///
    /// # Errors
    ///
    /// Those of lseek(2).
    pub fn seek(&mut self, directory: &OpenDirectory, offset: u64) -> Result<(), Errno> {
        let is_there = match offset {
            0 => !self.started,
            offset => offset == self.offset || self.find(offset)?,
        };
        if !is_there {
            rustix::fs::seek(directory, SeekFrom::Start(offset))?;
            self.bytes.clear();
            (self.at, self.offset) = (0, offset);
        }
        Ok(())
    }

    /// The next entry, without going past it; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of getdents64(2).
    pub fn peek(&mut self, directory: &OpenDirectory) -> Result<Option<Entry<'_>>, Errno> {
        if self.at == self.bytes.len() {
            self.started = true;
            self.bytes.resize(BUFFER_LEN, 0);
            let read = sys::getdents64(directory.as_fd(), &mut self.bytes);
            self.bytes.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            if read? == 0 {
                // The end: nothing is kept for a directory that may stay open for long.
                self.bytes = Vec::new();
            }
        }
        Entry::parse(&self.bytes[self.at..])
    }

    /// Goes past the entry that [`peek`](Self::peek) showed.
    ///
    /// # Errors
    ///
    /// `EIO` if it showed none.
    pub fn advance(&mut self) -> Result<(), Errno> {
        let entry = Entry::parse(&self.bytes[self.at..])?.ok_or(Errno::IO)?;
        (self.at, self.offset) = (self.at + entry.len, entry.next);
        Ok(())
    }

    /// Goes to `offset` if it is in the buffer: the kernel goes back there when the application's
    /// buffer was smaller than the reply.
    fn find(&mut self, offset: u64) -> Result<bool, Errno> {
        let mut at = 0;
        while let Some(entry) = Entry::parse(&self.bytes[at..])? {
            at += entry.len;
            if entry.next == offset {
                (self.at, self.offset) = (at, offset);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
