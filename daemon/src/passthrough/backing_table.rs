//! Which inodes the kernel reads and writes by itself (`FOPEN_PASSTHROUGH`), and which go through
//! the daemon.
//!
//! The kernel has one mode per inode at a time (fs/fuse/iomode.c):
//!
//! - while a cached file is open, an open that asks for passthrough fails with `EIO`;
//! - while a passthrough file is open, one that does not ask for it fails with `EIO`, and so does
//!   one with another backing id;
//! - `FOPEN_DIRECT_IO` beside `FOPEN_PASSTHROUGH` is allowed: reads and writes come to the daemon,
//!   mappings go to the backing file;
//! - a file with `FOPEN_DIRECT_IO` alone has no mode until it is mapped, then it is cached.
//!
//! So the first open of an inode sets its mode, all others follow, and the last RELEASE ends it.
//! The kernel leaves a mode before it sends RELEASE, hence the mode here ends no earlier than the
//! kernel's, and an open that follows it is never refused.

use crate::fuse::{Backing, BackingId};
use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    os::fd::BorrowedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

const SHARDS: usize = 64;

/// How an open file's data travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataPath {
    /// Through the daemon, and the kernel may cache.
    Copy,
    /// From the lower file by the kernel.
    Passthrough(BackingId),
    /// Through the daemon and uncached, beside passthrough files of the same inode.
    CopyBeside(BackingId),
}

/// The mode of each open inode.
#[derive(Debug)]
pub struct BackingTable {
    shards: Box<[Mutex<HashMap<u64, Inode>>]>,
    counts: Counts,
}

#[derive(Debug)]
struct Inode {
    backing: Option<BackingId>,
    opens: u64,
}

#[derive(Debug, Default)]
struct Counts {
    passthrough: AtomicU64,
    copied: AtomicU64,
    refused: AtomicU64,
}

/// How often files were opened in which way since the mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenCounts {
    /// The kernel reads and writes the lower file.
    pub passthrough: u64,
    /// The daemon copies.
    pub copied: u64,
    /// Registrations that the kernel refused (a stacked lower file system, for one): those files
    /// are copied.
    pub refused: u64,
}

impl Default for BackingTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            counts: Counts::default(),
        }
    }
}

impl BackingTable {
    /// Counts an open of `nodeid` and says how its data is to travel.
    ///
    /// `backing` is given if this file may be read and written by the kernel; `file` is registered
    /// by it if the inode has no mode yet. A registration that fails makes the inode's mode copy, and
    /// so does `pages`: a file that had better be copied if there is no mode yet.
    pub fn open(
        &self,
        nodeid: u64,
        file: BorrowedFd<'_>,
        backing: Option<&dyn Backing>,
        pages: bool,
    ) -> DataPath {
        let path = match self.shard(nodeid).entry(nodeid) {
            Entry::Occupied(mut inode) => {
                let inode = inode.get_mut();
                inode.opens += 1;
                match (inode.backing, backing) {
                    (Some(id), Some(_)) => DataPath::Passthrough(id),
                    (Some(id), None) => DataPath::CopyBeside(id),
                    (None, _) => DataPath::Copy,
                }
            }
            Entry::Vacant(vacant) => {
                let wanted = backing.filter(|_| !pages);
                let registered = wanted.map(|backing| backing.open(file)).transpose();
                let backing = registered.unwrap_or_else(|error| {
                    self.refused(nodeid, &error);
                    None
                });
                vacant.insert(Inode { backing, opens: 1 });
                backing.map_or(DataPath::Copy, DataPath::Passthrough)
            }
        };
        let count = match path {
            DataPath::Passthrough(_) => &self.counts.passthrough,
            DataPath::Copy | DataPath::CopyBeside(_) => &self.counts.copied,
        };
        count.fetch_add(1, Ordering::Relaxed);
        path
    }

    /// Counts an open that a predecessor answered.
    pub(super) fn restore(&self, nodeid: u64, data: DataPath) {
        let backing = match data {
            DataPath::Copy => None,
            DataPath::Passthrough(id) | DataPath::CopyBeside(id) => Some(id),
        };
        let mut shard = self.shard(nodeid);
        let inode = shard.entry(nodeid);
        inode.or_insert(Inode { backing, opens: 0 }).opens += 1;
    }

    /// Counts the RELEASE of a file of `nodeid`; the last one gives the backing id back.
    pub fn release(&self, nodeid: u64, backing: Option<&dyn Backing>) {
        let mut shard = self.shard(nodeid);
        let Entry::Occupied(mut inode) = shard.entry(nodeid) else {
            return;
        };
        inode.get_mut().opens -= 1;
        if inode.get().opens > 0 {
            return;
        }
        let ended = inode.remove();
        // Under the lock: the next open of this inode must not be answered with the old id.
        if let (Some(id), Some(backing)) = (ended.backing, backing)
            && let Err(error) = backing.close(id)
        {
            tracing::warn!(nodeid, id = id.0, %error, "cannot give a backing id back");
        }
    }

    /// How files were opened since the mount.
    pub fn counts(&self) -> OpenCounts {
        OpenCounts {
            passthrough: self.counts.passthrough.load(Ordering::Relaxed),
            copied: self.counts.copied.load(Ordering::Relaxed),
            refused: self.counts.refused.load(Ordering::Relaxed),
        }
    }

    /// Forgets every inode without telling the kernel: its side has ended.
    pub fn clear(&self) {
        for shard in &self.shards {
            lock(shard).clear();
        }
    }

    fn refused(&self, nodeid: u64, error: &io::Error) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(nodeid, %error, "no passthrough for this file: its data is copied");
    }

    fn shard(&self, nodeid: u64) -> MutexGuard<'_, HashMap<u64, Inode>> {
        lock(&self.shards[nodeid as usize % SHARDS])
    }
}

/// A poisoned shard is whole: no code that can panic runs while it is locked.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, fs::File, os::fd::AsFd, sync::atomic::AtomicI32};

    /// The kernel's half: hands out ids and notices misuse.
    #[derive(Default)]
    struct Kernel {
        last: AtomicI32,
        open: Mutex<HashSet<i32>>,
        refuse: bool,
    }

    impl Backing for Kernel {
        fn open(&self, _: BorrowedFd<'_>) -> io::Result<BackingId> {
            if self.refuse {
                return Err(rustix::io::Errno::LOOP.into());
            }
            let id = self.last.fetch_add(1, Ordering::SeqCst) + 1;
            self.open.lock().unwrap().insert(id);
            Ok(BackingId(id))
        }

        fn close(&self, id: BackingId) -> io::Result<()> {
            assert!(self.open.lock().unwrap().remove(&id.0), "closed twice");
            Ok(())
        }
    }

    fn any_file() -> File {
        File::open("/proc/self/exe").unwrap()
    }

    #[test]
    fn all_opens_of_an_inode_share_one_id_until_the_last_release() {
        let (kernel, table, file) = (Kernel::default(), BackingTable::default(), any_file());
        let open = || table.open(7, file.as_fd(), Some(&kernel), false);
        let first = open();
        assert!(matches!(first, DataPath::Passthrough(_)));
        assert_eq!(open(), first);
        table.release(7, Some(&kernel));
        assert_eq!(open(), first);
        table.release(7, Some(&kernel));
        table.release(7, Some(&kernel));
        assert!(kernel.open.lock().unwrap().is_empty());
        assert_ne!(open(), first);
    }

    #[test]
    fn who_must_not_pass_through_is_copied_beside_those_who_do() {
        let (kernel, table, file) = (Kernel::default(), BackingTable::default(), any_file());
        let DataPath::Passthrough(id) = table.open(7, file.as_fd(), Some(&kernel), false) else {
            panic!("a free inode is not passed through");
        };
        assert_eq!(
            table.open(7, file.as_fd(), None, false),
            DataPath::CopyBeside(id)
        );
    }

    #[test]
    fn a_cached_inode_stays_cached_until_its_last_release() {
        let (kernel, table, file) = (Kernel::default(), BackingTable::default(), any_file());
        assert_eq!(table.open(7, file.as_fd(), None, false), DataPath::Copy);
        assert_eq!(
            table.open(7, file.as_fd(), Some(&kernel), false),
            DataPath::Copy
        );
        table.release(7, Some(&kernel));
        assert_eq!(
            table.open(7, file.as_fd(), Some(&kernel), false),
            DataPath::Copy
        );
        table.release(7, Some(&kernel));
        table.release(7, Some(&kernel));
        let again = table.open(7, file.as_fd(), Some(&kernel), false);
        assert!(matches!(again, DataPath::Passthrough(_)));
    }

    #[test]
    fn who_prefers_pages_joins_those_who_pass_through() {
        let (kernel, table, file) = (Kernel::default(), BackingTable::default(), any_file());
        let open = |pages| table.open(7, file.as_fd(), Some(&kernel), pages);
        assert_eq!(open(true), DataPath::Copy);
        assert_eq!(open(false), DataPath::Copy);
        for _ in 0..2 {
            table.release(7, Some(&kernel));
        }
        let first = open(false);
        assert!(matches!(first, DataPath::Passthrough(_)));
        assert_eq!(open(true), first);
    }

    #[test]
    fn a_refused_registration_makes_a_copied_file_and_is_counted() {
        let (table, file) = (BackingTable::default(), any_file());
        let kernel = Kernel {
            refuse: true,
            ..Kernel::default()
        };
        assert_eq!(
            table.open(7, file.as_fd(), Some(&kernel), false),
            DataPath::Copy
        );
        let counts = table.counts();
        assert_eq!(
            (counts.refused, counts.copied, counts.passthrough),
            (1, 1, 0)
        );
    }

    #[test]
    fn racing_opens_and_releases_never_see_a_closed_id() {
        let (kernel, table, file) = (Kernel::default(), BackingTable::default(), any_file());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..2000_u64 {
                        let nodeid = round % 3;
                        let path = table.open(nodeid, file.as_fd(), Some(&kernel), false);
                        let DataPath::Passthrough(id) = path else {
                            panic!("{path:?}");
                        };
                        assert!(kernel.open.lock().unwrap().contains(&id.0));
                        table.release(nodeid, Some(&kernel));
                    }
                });
            }
        });
        assert!(kernel.open.lock().unwrap().is_empty());
    }
}
