//! What a request asks for.

use super::request::*;
use core::{fmt, mem::size_of};

/// `enum fuse_opcode`, open: a value this crate does not know stays what it is.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Opcode(pub u32);

macro_rules! opcodes {
    ($($name:ident = $value:literal),+ $(,)?) => {
        #[expect(missing_docs, reason = "the names are the protocol's own")]
        impl Opcode {
            $(pub const $name: Self = Self($value);)+

            /// Every opcode this crate knows.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The protocol's name in capitals, without the `FUSE_`; `None` if it is unknown.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

opcodes! {
    LOOKUP = 1, FORGET = 2, GETATTR = 3, SETATTR = 4, READLINK = 5, SYMLINK = 6, MKNOD = 8,
    MKDIR = 9, UNLINK = 10, RMDIR = 11, RENAME = 12, LINK = 13, OPEN = 14, READ = 15, WRITE = 16,
    STATFS = 17, RELEASE = 18, FSYNC = 20, SETXATTR = 21, GETXATTR = 22, LISTXATTR = 23,
    REMOVEXATTR = 24, FLUSH = 25, INIT = 26, OPENDIR = 27, READDIR = 28, RELEASEDIR = 29,
    FSYNCDIR = 30, GETLK = 31, SETLK = 32, SETLKW = 33, ACCESS = 34, CREATE = 35, INTERRUPT = 36,
    BMAP = 37, DESTROY = 38, IOCTL = 39, POLL = 40, NOTIFY_REPLY = 41, BATCH_FORGET = 42,
    FALLOCATE = 43, READDIRPLUS = 44, RENAME2 = 45, LSEEK = 46, COPY_FILE_RANGE = 47,
    SETUPMAPPING = 48, REMOVEMAPPING = 49, SYNCFS = 50, TMPFILE = 51, STATX = 52,
    COPY_FILE_RANGE_64 = 53,
}

impl Opcode {
    /// One more than the largest opcode: the length of a table indexed by opcode.
    pub const TABLE_LEN: usize = 64;

    /// The length in bytes of the structure that a request of this opcode starts with, behind the
    /// [`InHeader`]. What follows it (names, data) is the request's payload. Unknown: 0.
    ///
    /// FUSE-over-io_uring puts this structure into the entry's `op_in` and only the rest into its
    /// payload (`fuse_uring_args_to_ring`, fs/fuse/dev_uring.c); `/dev/fuse` has both in a row.
    pub const fn fixed_len(self) -> usize {
        match self {
            Self::FORGET => size_of::<ForgetIn>(),
            Self::GETATTR => size_of::<GetattrIn>(),
            Self::SETATTR => size_of::<SetattrIn>(),
            Self::MKNOD => size_of::<MknodIn>(),
            Self::MKDIR => size_of::<MkdirIn>(),
            Self::RENAME => size_of::<RenameIn>(),
            Self::RENAME2 => size_of::<Rename2In>(),
            Self::LINK => size_of::<LinkIn>(),
            Self::OPEN | Self::OPENDIR => size_of::<OpenIn>(),
            Self::READ | Self::READDIR | Self::READDIRPLUS => size_of::<ReadIn>(),
            Self::WRITE => size_of::<WriteIn>(),
            Self::RELEASE | Self::RELEASEDIR => size_of::<ReleaseIn>(),
            Self::FSYNC | Self::FSYNCDIR => size_of::<FsyncIn>(),
            Self::SETXATTR => size_of::<SetxattrIn>(),
            Self::GETXATTR | Self::LISTXATTR => size_of::<GetxattrIn>(),
            Self::FLUSH => size_of::<FlushIn>(),
            Self::INIT => size_of::<InitIn>(),
            Self::GETLK | Self::SETLK | Self::SETLKW => size_of::<LkIn>(),
            Self::ACCESS => size_of::<AccessIn>(),
            Self::CREATE | Self::TMPFILE => size_of::<CreateIn>(),
            Self::INTERRUPT => size_of::<InterruptIn>(),
            Self::BMAP => size_of::<BmapIn>(),
            Self::IOCTL => size_of::<IoctlIn>(),
            Self::POLL => size_of::<PollIn>(),
            Self::NOTIFY_REPLY => size_of::<NotifyRetrieveIn>(),
            Self::BATCH_FORGET => size_of::<BatchForgetIn>(),
            Self::FALLOCATE => size_of::<FallocateIn>(),
            Self::LSEEK => size_of::<LseekIn>(),
            Self::COPY_FILE_RANGE | Self::COPY_FILE_RANGE_64 => size_of::<CopyFileRangeIn>(),
            Self::SYNCFS => size_of::<SyncfsIn>(),
            Self::STATX => size_of::<StatxIn>(),
            _ => 0,
        }
    }
}

impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "opcode {}", self.0),
        }
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
