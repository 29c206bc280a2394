//! The bit sets of the protocol. Unknown bits are kept.

#![allow(missing_docs, reason = "the names are the protocol's own")]

use bitflags::bitflags;

macro_rules! wire_flags {
    ($($(#[$doc:meta])* $name:ident : $ty:ty { $($(#[doc = $flag_doc:literal])* $flag:ident = $value:expr;)* })+) => {$(
        bitflags! {
            $(#[$doc])*
            #[repr(transparent)]
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
            pub struct $name: $ty {
                $($(#[doc = $flag_doc])* const $flag = $value;)*
                const _ = !0;
            }
        }
    )+};
}

wire_flags! {
    /// What kernel and daemon agree on at INIT. The upper half travels in `flags2`.
    InitFlags: u64 {
        ASYNC_READ = 1 << 0;
        POSIX_LOCKS = 1 << 1;
        ATOMIC_O_TRUNC = 1 << 3;
        EXPORT_SUPPORT = 1 << 4;
        BIG_WRITES = 1 << 5;
        DONT_MASK = 1 << 6;
        SPLICE_WRITE = 1 << 7;
        SPLICE_MOVE = 1 << 8;
        SPLICE_READ = 1 << 9;
        FLOCK_LOCKS = 1 << 10;
        HAS_IOCTL_DIR = 1 << 11;
        AUTO_INVAL_DATA = 1 << 12;
        DO_READDIRPLUS = 1 << 13;
        READDIRPLUS_AUTO = 1 << 14;
        ASYNC_DIO = 1 << 15;
        WRITEBACK_CACHE = 1 << 16;
        NO_OPEN_SUPPORT = 1 << 17;
        PARALLEL_DIROPS = 1 << 18;
        HANDLE_KILLPRIV = 1 << 19;
        POSIX_ACL = 1 << 20;
        ABORT_ERROR = 1 << 21;
        MAX_PAGES = 1 << 22;
        CACHE_SYMLINKS = 1 << 23;
        NO_OPENDIR_SUPPORT = 1 << 24;
        EXPLICIT_INVAL_DATA = 1 << 25;
        MAP_ALIGNMENT = 1 << 26;
        SUBMOUNTS = 1 << 27;
        HANDLE_KILLPRIV_V2 = 1 << 28;
        SETXATTR_EXT = 1 << 29;
        INIT_EXT = 1 << 30;
        SECURITY_CTX = 1 << 32;
        HAS_INODE_DAX = 1 << 33;
        CREATE_SUPP_GROUP = 1 << 34;
        HAS_EXPIRE_ONLY = 1 << 35;
        DIRECT_IO_ALLOW_MMAP = 1 << 36;
        PASSTHROUGH = 1 << 37;
        NO_EXPORT_SUPPORT = 1 << 38;
        HAS_RESEND = 1 << 39;
        ALLOW_IDMAP = 1 << 40;
        OVER_IO_URING = 1 << 41;
        REQUEST_TIMEOUT = 1 << 42;
    }
    /// `FOPEN_*`: how the kernel is to treat an open file.
    FopenFlags: u32 {
        DIRECT_IO = 1 << 0;
        KEEP_CACHE = 1 << 1;
        NONSEEKABLE = 1 << 2;
        CACHE_DIR = 1 << 3;
        STREAM = 1 << 4;
        NOFLUSH = 1 << 5;
        PARALLEL_DIRECT_WRITES = 1 << 6;
        PASSTHROUGH = 1 << 7;
    }
    /// `FUSE_OPEN_*`: bits of `open_in.open_flags` and `create_in.open_flags`.
    OpenInFlags: u32 {
        /// Clear suid and sgid at the truncation that this open makes.
        KILL_SUIDGID = 1 << 0;
    }
    /// `FATTR_*`: which fields of a SETATTR are meant.
    SetattrValid: u32 {
        MODE = 1 << 0;
        UID = 1 << 1;
        GID = 1 << 2;
        SIZE = 1 << 3;
        ATIME = 1 << 4;
        MTIME = 1 << 5;
        FH = 1 << 6;
        ATIME_NOW = 1 << 7;
        MTIME_NOW = 1 << 8;
        LOCKOWNER = 1 << 9;
        CTIME = 1 << 10;
        KILL_SUIDGID = 1 << 11;
    }
    /// `FUSE_ATTR_*`: what an inode is beside its mode.
    AttrFlags: u32 {
        /// The root of a submount: the kernel makes a mount of its own of it.
        SUBMOUNT = 1 << 0;
        DAX = 1 << 1;
    }
    /// `FUSE_GETATTR_*`.
    GetattrFlags: u32 {
        /// `fh` is valid.
        FH = 1 << 0;
    }
    /// `FUSE_WRITE_*`.
    WriteFlags: u32 {
        /// Write-back from the page cache; the file handle is a guess.
        CACHE = 1 << 0;
        LOCKOWNER = 1 << 1;
        KILL_SUIDGID = 1 << 2;
    }
    /// `FUSE_READ_*`.
    ReadFlags: u32 {
        LOCKOWNER = 1 << 1;
    }
    /// `FUSE_RELEASE_*`.
    ReleaseFlags: u32 {
        FLUSH = 1 << 0;
        FLOCK_UNLOCK = 1 << 1;
    }
    /// `FUSE_LK_*`.
    LkFlags: u32 {
        /// `flock(2)`, not `fcntl(2)`.
        FLOCK = 1 << 0;
    }
    /// `FUSE_FSYNC_*`.
    FsyncFlags: u32 {
        FDATASYNC = 1 << 0;
    }
    /// `FUSE_IOCTL_*`.
    IoctlFlags: u32 {
        COMPAT = 1 << 0;
        UNRESTRICTED = 1 << 1;
        RETRY = 1 << 2;
        IOCTL_32BIT = 1 << 3;
        DIR = 1 << 4;
        COMPAT_X32 = 1 << 5;
    }
    /// `FUSE_POLL_*`.
    PollFlags: u32 {
        SCHEDULE_NOTIFY = 1 << 0;
    }
    /// `FUSE_SETXATTR_*`: bits of `setxattr_in.setxattr_flags`.
    SetxattrFlags: u32 {
        /// Clear sgid: an ACL is set by one who is not in the group.
        ACL_KILL_SGID = 1 << 0;
    }
    /// `FUSE_EXPIRE_ONLY`: bits of [`super::NotifyInvalEntryOut`].
    InvalEntryFlags: u32 {
        EXPIRE_ONLY = 1 << 0;
    }
}

impl InitFlags {
    /// From the two words of INIT.
    pub const fn from_words(flags: u32, flags2: u32) -> Self {
        Self::from_bits_retain(flags as u64 | (flags2 as u64) << 32)
    }

    /// The word `flags` of INIT.
    pub const fn low(self) -> u32 {
        self.bits() as u32
    }

    /// The word `flags2` of INIT.
    pub const fn high(self) -> u32 {
        (self.bits() >> 32) as u32
    }
}
