//! The rules of the mount that this process serves.

use super::{book::Book, spec::Spec};
use crate::{
    error::Result,
    fuse::{Errno, FileSystem},
};
use rustix::time::{ClockId, clock_gettime};
use transport::{
    rules::{Asked, Priority, Ruling, judge, judge::Circumstances},
    wire::{CopyFileRangeIn, InHeader, LinkIn, Opcode, Rename2In, RenameIn},
};

/// What is to be done with a request that the daemon has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// It is served as it would be without rules.
    Serve,
    /// It is answered with this errno.
    Refuse(Errno),
    /// It is served on the lane for bulk.
    Lane(Priority),
}

/// The book that requests are judged by, wherever it lies.
#[derive(Debug)]
pub struct Rules(Book);

impl Rules {
    /// Goes by `book`, in which the rules of `spec` are put into force.
    ///
    /// # Errors
    ///
    /// If a subtree of them is not there.
    pub fn new(book: Book, spec: Option<&Spec>, fs: &dyn FileSystem) -> Result<Self> {
        if let Some(spec) = spec {
            book.change(|_| Ok(spec.clone()), |path| fs.number_of(path))?;
        }
        Ok(Self(book))
    }

    /// The book.
    pub fn book(&self) -> &Book {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.get().is_empty()
    }

    /// Whether a rule speaks of this name. Its entry must not be told unasked: it could be refused.
    pub fn speaks_of(&self, name: &[u8]) -> bool {
        !self.is_empty() && self.0.get().speaks_of(name)
    }

    /// What is to be done with a request. `ruled` is what the kernel program said of it.
    pub fn course(&self, ruled: Ruling, request: &Seen<'_>) -> Course {
        let mut ruling = ruled;
        while ruling == Ruling::Undecided {
            if self.is_empty() {
                return Course::Serve;
            }
            ruling = judge(self.0.get(), &request.asked(), request);
        }
        match ruling {
            Ruling::Pass | Ruling::Undecided => Course::Serve,
            Ruling::Deny(errno) => Course::Refuse(Errno::from_raw_os_error(errno.into())),
            Ruling::Lane(priority) => Course::Lane(priority),
        }
    }
}

/// A request as the daemon sees it.
#[derive(Clone, Copy)]
pub struct Seen<'r> {
    /// Its header.
    pub header: &'r InHeader,
    /// Its fixed part.
    pub fixed: &'r [u8],
    /// What follows that.
    pub payload: &'r [u8],
    /// What it is asked of.
    pub fs: &'r dyn FileSystem,
}

impl Seen<'_> {
    fn asked(&self) -> Asked {
        let InHeader {
            opcode,
            nodeid,
            uid,
            gid,
            pid,
            ..
        } = *self.header;
        let caller = [u64::from(uid) | u64::from(gid) << 32, u64::from(pid)];
        Asked::new(opcode, nodeid, caller, |index| {
            let bytes = self.fixed.get(index * 8..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        })
    }

    /// The other inode that a request is about: where something is moved, linked or copied to, or what
    /// is linked.
    fn other(&self) -> Option<u64> {
        fn read<T: bytemuck::Pod>(bytes: &[u8]) -> Option<T> {
            let bytes = bytes.get(..size_of::<T>())?;
            Some(bytemuck::pod_read_unaligned(bytes))
        }
        match self.header.opcode {
            Opcode::RENAME => read(self.fixed).map(|RenameIn { newdir }| newdir),
            Opcode::RENAME2 => read(self.fixed).map(|Rename2In { newdir, .. }| newdir),
            Opcode::LINK => read(self.fixed).map(|LinkIn { oldnodeid }| oldnodeid),
            Opcode::COPY_FILE_RANGE | Opcode::COPY_FILE_RANGE_64 => {
                read(self.fixed).map(|CopyFileRangeIn { nodeid_out, .. }| nodeid_out)
            }
            _ => None,
        }
    }
}

impl Circumstances for Seen<'_> {
    type Name<'n>
        = &'n [u8]
    where
        Self: 'n;

    fn name(&self) -> Option<(&[u8], usize)> {
        let len = self.payload.iter().position(|byte| *byte == 0)?;
        Some((&self.payload[..len], len))
    }

    const KNOWS_NAMES: bool = true;
    const KNOWS_TREE: bool = true;

    fn is_within(&self, directory: u64) -> bool {
        let inodes = [Some(self.header.nodeid), self.other()];
        let within = |nodeid| self.fs.is_within(nodeid, directory);
        inodes.into_iter().flatten().any(within)
    }

    fn now_ns(&self) -> u64 {
        // The clock of the kernel program's `bpf_ktime_get_ns`.
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}
