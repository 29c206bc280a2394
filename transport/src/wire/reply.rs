//! The body of each reply: `struct fuse_*_out`, attributes and directory entries.

use super::{AttrFlags, FopenFlags, IoctlFlags, assert_sizes, request::wire_structs};
use bytemuck::{Pod, Zeroable};

wire_structs! {
    /// What every reply and notification starts with.
    OutHeader {
        /// Length of the whole reply in bytes, this header included.
        len: u32,
        /// 0, or a negative errno; a notification's code.
        error: i32,
        /// The request's `unique`; 0 for a notification.
        unique: u64,
    }
    /// The attributes of an inode.
    Attr {
        ino: u64,
        size: u64,
        /// In units of 512 bytes.
        blocks: u64,
        atime: u64,
        mtime: u64,
        ctime: u64,
        atimensec: u32,
        mtimensec: u32,
        ctimensec: u32,
        mode: u32,
        nlink: u32,
        uid: u32,
        gid: u32,
        /// `new_encode_dev` of the device (include/linux/kdev_t.h).
        rdev: u32,
        blksize: u32,
        flags: AttrFlags,
    }
    /// LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, and the first part of CREATE and TMPFILE.
    EntryOut {
        /// 0 in a LOOKUP's reply: a negative entry, valid for `entry_valid`.
        nodeid: u64,
        /// `nodeid` and `generation` together are unique for the life of the file system.
        generation: u64,
        /// Seconds.
        entry_valid: u64,
        /// Seconds.
        attr_valid: u64,
        entry_valid_nsec: u32,
        attr_valid_nsec: u32,
        attr: Attr,
    }
    /// GETATTR and SETATTR.
    AttrOut { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr, }
    /// A point in time of a [`Statx`].
    SxTime { tv_sec: i64, tv_nsec: u32, reserved: i32, }
    /// `struct fuse_statx`.
    Statx {
        mask: u32,
        blksize: u32,
        attributes: u64,
        nlink: u32,
        uid: u32,
        gid: u32,
        mode: u16,
        spare0: u16,
        ino: u64,
        size: u64,
        blocks: u64,
        attributes_mask: u64,
        atime: SxTime,
        btime: SxTime,
        ctime: SxTime,
        mtime: SxTime,
        rdev_major: u32,
        rdev_minor: u32,
        dev_major: u32,
        dev_minor: u32,
        spare2: [u64; 14],
    }
    /// STATX.
    StatxOut { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: Statx, }
    /// OPEN and OPENDIR, and the second part of CREATE and TMPFILE.
    OpenOut {
        fh: u64,
        open_flags: FopenFlags,
        /// Valid with [`FopenFlags::PASSTHROUGH`].
        backing_id: i32,
    }
    /// WRITE, and COPY_FILE_RANGE.
    WriteOut { size: u32, padding: u32, }
    /// COPY_FILE_RANGE_64.
    CopyFileRangeOut { bytes_copied: u64, }
    /// STATFS.
    StatfsOut {
        blocks: u64,
        bfree: u64,
        bavail: u64,
        files: u64,
        ffree: u64,
        bsize: u32,
        namelen: u32,
        frsize: u32,
        padding: u32,
        spare: [u32; 6],
    }
    /// GETXATTR and LISTXATTR that asked for the length.
    GetxattrOut { size: u32, padding: u32, }
    /// A lock of fcntl(2).
    FileLock {
        /// First byte.
        start: u64,
        /// Last byte; `i64::MAX` reaches to the end of the file.
        end: u64,
        /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
        kind: u32,
        pid: u32,
    }
    /// GETLK.
    LkOut { lk: FileLock, }
    /// BMAP.
    BmapOut { block: u64, }
    /// IOCTL; the ioctl's output follows.
    IoctlOut { result: i32, flags: IoctlFlags, in_iovs: u32, out_iovs: u32, }
    /// POLL.
    PollOut { revents: u32, padding: u32, }
    /// LSEEK.
    LseekOut { offset: u64, }
    /// Head of an entry in a READDIR; the name follows, padded to 8 bytes.
    Dirent {
        ino: u64,
        /// Where the entry behind this one begins: the offset of the READDIR that goes on here.
        off: u64,
        /// In bytes, without the padding.
        namelen: u32,
        /// `DT_*`.
        kind: u32,
    }
    /// INIT: what is agreed on.
    InitOut {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
        max_background: u16,
        congestion_threshold: u16,
        /// Bytes.
        max_write: u32,
        /// Granularity of times in nanoseconds.
        time_gran: u32,
        /// Pages of 4 KiB in one request.
        max_pages: u16,
        map_alignment: u16,
        flags2: u32,
        /// With [`super::InitFlags::PASSTHROUGH`]: 1 + the deepest stack of a backing file system.
        max_stack_depth: u32,
        /// Seconds, with [`super::InitFlags::REQUEST_TIMEOUT`].
        request_timeout: u16,
        unused: [u16; 11],
    }
    /// `struct fuse_backing_map`: argument of `FUSE_DEV_IOC_BACKING_OPEN`.
    BackingMap { fd: i32, flags: u32, padding: u64, }
}

impl Dirent {
    /// Length in bytes of an entry with a name of `namelen` bytes, its padding included.
    pub const fn padded_len(namelen: usize) -> usize {
        (size_of::<Self>() + namelen).next_multiple_of(8)
    }

    /// The same of an entry in a READDIRPLUS: an [`EntryOut`] stands before it.
    pub const fn plus_padded_len(namelen: usize) -> usize {
        size_of::<EntryOut>() + Self::padded_len(namelen)
    }
}

assert_sizes! {
    OutHeader = 16, Attr = 88, EntryOut = 128, AttrOut = 104, SxTime = 16, Statx = 256,
    StatxOut = 288, OpenOut = 16, WriteOut = 8, CopyFileRangeOut = 8, StatfsOut = 80,
    GetxattrOut = 8, FileLock = 24, LkOut = 24, BmapOut = 8, IoctlOut = 16, PollOut = 8,
    LseekOut = 8, Dirent = 24, InitOut = 64, BackingMap = 16,
}
