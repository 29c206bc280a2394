//! What can be seen of a file, in a form that is equal on two file systems.

use crate::common::Variant;
use rustix::fs::{FileType, Stat};

/// Seconds since 1970 above which a time can only be "now": all times that are set lie before.
const SET_BEFORE: i64 = 1_200_000_000;

/// What is compared on a mount of one variant.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Suid and sgid of files.
    ///
    /// Not where the kernel writes files by itself: it does so with the credentials under which
    /// they were registered, for every writer alike, and a file that gets suid or sgid while it is
    /// open loses it with the next write, even if root writes (docs/decisions/). What files lose
    /// that had it before they were opened is compared by `requests_root/killpriv.rs`.
    pub privileges: bool,
    /// Times after what the kernel does not know to move any: `FS_IOC_SETFLAGS`, and a rename with a
    /// whiteout that fails (ext4 has made and removed it by then). Not where it believes what it was
    /// told for a while.
    pub unforeseen: bool,
    /// What fallocate(2) does. Not on file systems that do nothing natively, and move no times,
    /// where there is nothing to allocate or no way to: the kernel takes capabilities away before
    /// it asks (`fuse_file_fallocate`, fs/fuse/file.c).
    pub allocations: bool,
}

impl Scope {
    /// That of a variant.
    pub fn of(variant: Variant) -> Self {
        Self {
            privileges: !variant.is_passthrough(),
            unforeseen: !variant.is_cached(),
            allocations: true,
        }
    }

    /// What is to be compared of a mode.
    pub fn of_mode(self, mode: u32) -> u32 {
        let is_file = FileType::from_raw_mode(mode) == FileType::RegularFile;
        if !self.privileges && is_file {
            mode & !0o6000
        } else {
            mode
        }
    }
}

/// Attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Type and permissions, in octal.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub nlink: u64,
    /// In bytes; 0 for directories, whose sizes depend on their history.
    pub size: i64,
    /// Of a device.
    pub rdev: u64,
    /// Time of modification, if it was set.
    pub modified: Option<(i64, u64)>,
    /// Whether the time of modification is another one than when last looked.
    pub modified_moved: bool,
    /// Whether the time of change is another one than when last looked.
    pub changed_moved: bool,
    /// Which of the files looked at is the first that is the same inode.
    pub same_as: usize,
}

/// Two exact times, and the inode, by which files are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Device and inode number.
    pub inode: (u64, u64),
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Marks {
    /// Takes them from a file's status.
    pub fn of(stat: &Stat) -> Self {
        Self {
            inode: (stat.st_dev, stat.st_ino),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Attributes {
    /// Takes them from a file's status. `before` are the same inode's marks when last looked.
    pub fn of(stat: &Stat, before: Option<Marks>, same_as: usize, scope: Scope) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_dir = kind == FileType::Directory;
        // Who writes to a FIFO moves its times, of which the kernel tells the daemon nothing.
        let before = before.filter(|_| kind != FileType::Fifo);
        let now = Marks::of(stat);
        Self {
            mode: format!("{:o}", scope.of_mode(stat.st_mode)),
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: stat.st_nlink,
            size: if is_dir { 0 } else { stat.st_size },
            rdev: stat.st_rdev,
            modified: (stat.st_mtime < SET_BEFORE).then_some(now.modified),
            modified_moved: before.is_some_and(|before| before.modified != now.modified),
            changed_moved: before.is_some_and(|before| before.changed != now.changed),
            same_as,
        }
    }
}
