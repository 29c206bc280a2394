//! A file that an application has open: the lower file behind one handle.

use super::{backing_table::DataPath, ledger::Recorded, proc_fd::reopen};
use crate::fuse::Errno;
use rustix::fs::{OFlags, fcntl_setfl};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// The status flags that an application can change with `F_SETFL` and that change what a read or
/// a write does. The kernel sends them with each READ and WRITE, not when they change.
pub const CHANGEABLE: OFlags = OFlags::APPEND.union(OFlags::DIRECT).union(OFlags::NOATIME);

/// The flags of an OPEN or CREATE that are not the lower open's: the file exists by then, is no
/// terminal, and its nodeid says which one it is. `FMODE_EXEC` (0x20, include/linux/fs.h) and
/// `O_LARGEFILE` are the kernel's own.
const NOT_LOWER: u32 = OFlags::CREATE.bits()
    | OFlags::EXCL.bits()
    | OFlags::NOCTTY.bits()
    | OFlags::NOFOLLOW.bits()
    | OFlags::DIRECTORY.bits()
    | 0x20;

/// The flags with which to open the lower file for an OPEN with `flags`. A kernel that writes back
/// (`FUSE_WRITEBACK_CACHE`) reads the pages that it writes parts of, and appends by itself.
pub fn lower_flags(flags: u32, writes_back: bool) -> OFlags {
    let lower = OFlags::from_bits_retain(flags & !NOT_LOWER) | OFlags::CLOEXEC;
    if !writes_back {
        return lower;
    }
    let lower = lower - OFlags::APPEND;
    match lower & OFlags::ACCMODE {
        OFlags::WRONLY => (lower - OFlags::ACCMODE) | OFlags::RDWR,
        _ => lower,
    }
}

/// What a handle of a regular file names.
#[derive(Debug)]
pub struct OpenFile {
    /// Dropped before the file is closed.
    recorded: OnceLock<Recorded>,
    nodeid: u64,
    file: Arc<File>,
    /// How its data travels.
    data: DataPath,
    /// Of [`CHANGEABLE`], what `file` has now.
    status: AtomicU32,
    changing: Mutex<()>,
    /// All flags it was opened with.
    flags: OFlags,
    /// The same inode without `O_APPEND` and `O_DIRECT`: see [`write_back`](Self::write_back).
    plain: OnceLock<File>,
}

impl OpenFile {
    /// `file`, opened with `flags` for `nodeid`.
    pub fn new(nodeid: u64, file: File, flags: OFlags, data: DataPath) -> Self {
        Self::restored(nodeid, file, flags, flags, data)
    }

    /// The same, of a file that has other status flags by now.
    pub fn restored(
        nodeid: u64,
        file: File,
        flags: OFlags,
        status: OFlags,
        data: DataPath,
    ) -> Self {
        Self {
            recorded: OnceLock::new(),
            nodeid,
            file: Arc::new(file),
            data,
            status: AtomicU32::new((status & CHANGEABLE).bits()),
            changing: Mutex::new(()),
            flags,
            plain: OnceLock::new(),
        }
    }

    /// It is recorded there from now on, for a successor of the daemon; once.
    pub(super) fn record(&self, recorded: Option<Recorded>) {
        if let Some(recorded) = recorded {
            let _ = self.recorded.set(recorded);
        }
    }

    /// The inode that was opened.
    pub fn nodeid(&self) -> u64 {
        self.nodeid
    }

    /// The lower file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// How its data travels.
    pub fn data(&self) -> DataPath {
        self.data
    }

    /// The flags it was opened with.
    pub fn flags(&self) -> OFlags {
        self.flags
    }

    /// Gives the lower file the status flags that the application's file has now.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the lower file system has no direct I/O.
    pub fn follow(&self, flags: u32) -> Result<(), Errno> {
        let wanted = OFlags::from_bits_retain(flags) & CHANGEABLE;
        if self.status.load(Ordering::Relaxed) == wanted.bits() {
            return Ok(());
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        fcntl_setfl(&self.file, wanted)?;
        self.status.store(wanted.bits(), Ordering::Relaxed);
        Ok(())
    }

    /// The lower file for a write-back of mapped pages: the kernel picks any file of the inode for
    /// it, while the pages have a place of their own and no alignment in our memory.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn write_back(&self) -> Result<BorrowedFd<'_>, Errno> {
        let hindering = (OFlags::APPEND | OFlags::DIRECT).bits();
        if self.status.load(Ordering::Relaxed) & hindering == 0 {
            return Ok(self.file.as_fd());
        }
        if let Some(plain) = self.plain.get() {
            return Ok(plain.as_fd());
        }
        let plain = File::from(reopen(self.file.as_fd(), OFlags::WRONLY)?);
        Ok(self.plain.get_or_init(|| plain).as_fd())
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, fcntl_getfl};
    use std::os::unix::fs::FileExt;

    fn open(path: &std::path::Path, flags: OFlags) -> OpenFile {
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap());
        OpenFile::new(2, file, flags, DataPath::Copy)
    }

    #[test]
    fn the_lower_open_keeps_what_is_about_data() {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::DIRECT | OFlags::DSYNC;
        let dropped = OFlags::CREATE | OFlags::EXCL | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let lower = lower_flags((flags | dropped).bits(), false);
        assert_eq!(lower, flags | OFlags::CLOEXEC);
    }

    #[test]
    fn a_kernel_that_writes_back_may_read_what_it_writes_and_appends_by_itself() {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::DSYNC;
        let expected = OFlags::RDWR | OFlags::DSYNC | OFlags::CLOEXEC;
        assert_eq!(lower_flags(flags.bits(), true), expected);
        let reading = OFlags::RDONLY | OFlags::CLOEXEC;
        assert_eq!(lower_flags(0, true), reading);
    }

    #[test]
    fn the_lower_file_follows_the_applications_status_flags() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let open = open(temp.path(), OFlags::RDWR | OFlags::APPEND);
        open.follow(OFlags::RDWR.bits()).unwrap();
        assert!(!fcntl_getfl(&open).unwrap().contains(OFlags::APPEND));
        open.follow((OFlags::RDWR | OFlags::APPEND).bits()).unwrap();
        assert!(fcntl_getfl(&open).unwrap().contains(OFlags::APPEND));
    }

    #[test]
    fn mapped_pages_are_written_to_their_place_though_the_file_appends() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        temp.as_file().write_all_at(b"abcdef", 0).unwrap();
        let open = open(temp.path(), OFlags::RDWR | OFlags::APPEND);
        rustix::io::pwrite(open.write_back().unwrap(), b"X", 1).unwrap();
        assert_eq!(std::fs::read(temp.path()).unwrap(), b"aXcdef");
    }
}
