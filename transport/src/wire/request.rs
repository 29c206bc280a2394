//! The fixed part of each request: `struct fuse_*_in`.

use super::{
    FsyncFlags, GetattrFlags, IoctlFlags, LkFlags, Opcode, OpenInFlags, PollFlags, ReadFlags,
    ReleaseFlags, SetattrValid, SetxattrFlags, WriteFlags, assert_sizes, reply::FileLock,
};
use bytemuck::{Pod, Zeroable};

macro_rules! wire_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty,)* })+) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
        pub struct $name {
            $($(#[$fdoc])* #[allow(missing_docs, reason = "the names are the protocol's own")] pub $field: $ty,)*
        }
        impl Default for $name {
            fn default() -> Self { Self::zeroed() }
        }
    )+};
}
pub(crate) use wire_structs;

wire_structs! {
    /// What every request starts with.
    InHeader {
        /// Length of the whole request in bytes, this header included.
        len: u32,
        opcode: Opcode,
        /// Names the request in its reply and in an INTERRUPT.
        unique: u64,
        nodeid: u64,
        uid: u32,
        gid: u32,
        pid: u32,
        /// Length of the extensions at the request's end, in units of 8 bytes ([`ExtHeader`]).
        total_extlen: u16,
        padding: u16,
    }
    /// INIT: what the kernel can do.
    InitIn {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
        flags2: u32,
        unused: [u32; 11],
    }
    /// FORGET.
    ForgetIn { nlookup: u64, }
    /// One element of a BATCH_FORGET.
    ForgetOne { nodeid: u64, nlookup: u64, }
    /// BATCH_FORGET: `count` times [`ForgetOne`] follow.
    BatchForgetIn { count: u32, dummy: u32, }
    /// GETATTR.
    GetattrIn { getattr_flags: GetattrFlags, dummy: u32, fh: u64, }
    /// SETATTR.
    SetattrIn {
        valid: SetattrValid,
        padding: u32,
        fh: u64,
        size: u64,
        lock_owner: u64,
        atime: u64,
        mtime: u64,
        ctime: u64,
        atimensec: u32,
        mtimensec: u32,
        ctimensec: u32,
        mode: u32,
        unused4: u32,
        uid: u32,
        gid: u32,
        unused5: u32,
    }
    /// STATX.
    StatxIn {
        getattr_flags: GetattrFlags,
        reserved: u32,
        fh: u64,
        /// `AT_STATX_*`.
        sx_flags: u32,
        /// `STATX_*`.
        sx_mask: u32,
    }
    /// MKNOD; the name follows.
    MknodIn { mode: u32, rdev: u32, umask: u32, padding: u32, }
    /// MKDIR; the name follows.
    MkdirIn { mode: u32, umask: u32, }
    /// RENAME; old and new name follow.
    RenameIn { newdir: u64, }
    /// RENAME2; old and new name follow.
    Rename2In {
        newdir: u64,
        /// `RENAME_*` of renameat2(2).
        flags: u32,
        padding: u32,
    }
    /// LINK; the new name follows.
    LinkIn { oldnodeid: u64, }
    /// OPEN and OPENDIR.
    OpenIn {
        /// `O_*` of open(2).
        flags: u32,
        open_flags: OpenInFlags,
    }
    /// CREATE and TMPFILE; the name follows (TMPFILE's is to be ignored).
    CreateIn { flags: u32, mode: u32, umask: u32, open_flags: OpenInFlags, }
    /// READ, READDIR and READDIRPLUS.
    ReadIn {
        fh: u64,
        offset: u64,
        size: u32,
        read_flags: ReadFlags,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }
    /// WRITE; `size` bytes of data follow.
    WriteIn {
        fh: u64,
        offset: u64,
        size: u32,
        write_flags: WriteFlags,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }
    /// RELEASE and RELEASEDIR.
    ReleaseIn { fh: u64, flags: u32, release_flags: ReleaseFlags, lock_owner: u64, }
    /// FLUSH: a descriptor was closed.
    FlushIn { fh: u64, unused: u32, padding: u32, lock_owner: u64, }
    /// FSYNC and FSYNCDIR.
    FsyncIn { fh: u64, fsync_flags: FsyncFlags, padding: u32, }
    /// SETXATTR in its longer form (`FUSE_SETXATTR_EXT`); name and `size` bytes of value follow.
    SetxattrIn { size: u32, flags: u32, setxattr_flags: SetxattrFlags, padding: u32, }
    /// GETXATTR (the name follows) and LISTXATTR. `size` 0 asks for the length.
    GetxattrIn { size: u32, padding: u32, }
    /// GETLK, SETLK and SETLKW.
    LkIn { fh: u64, owner: u64, lk: FileLock, lk_flags: LkFlags, padding: u32, }
    /// ACCESS.
    AccessIn { mask: u32, padding: u32, }
    /// INTERRUPT of the request `unique`.
    InterruptIn { unique: u64, }
    /// BMAP.
    BmapIn { block: u64, blocksize: u32, padding: u32, }
    /// IOCTL; `in_size` bytes follow.
    IoctlIn { fh: u64, flags: IoctlFlags, cmd: u32, arg: u64, in_size: u32, out_size: u32, }
    /// POLL.
    PollIn { fh: u64, kh: u64, flags: PollFlags, events: u32, }
    /// FALLOCATE.
    FallocateIn { fh: u64, offset: u64, length: u64, mode: u32, padding: u32, }
    /// LSEEK.
    LseekIn { fh: u64, offset: u64, whence: u32, padding: u32, }
    /// COPY_FILE_RANGE and COPY_FILE_RANGE_64: from `nodeid` of the header.
    CopyFileRangeIn {
        fh_in: u64,
        off_in: u64,
        nodeid_out: u64,
        fh_out: u64,
        off_out: u64,
        len: u64,
        flags: u64,
    }
    /// SYNCFS.
    SyncfsIn { padding: u64, }
    /// NOTIFY_REPLY, as long as [`WriteIn`]; `size` bytes of data follow.
    NotifyRetrieveIn { dummy1: u64, offset: u64, size: u32, dummy2: u32, dummy3: u64, dummy4: u64, }
    /// Head of an extension at a request's end.
    ExtHeader {
        /// Length in bytes, this head included, a multiple of 8.
        size: u32,
        /// [`EXT_GROUPS`] or the number of security contexts.
        kind: u32,
    }
    /// The extension [`EXT_GROUPS`] behind its head; `nr_groups` group ids follow.
    SuppGroups { nr_groups: u32, }
}

/// Kind of the extension that carries supplementary groups (`FUSE_EXT_GROUPS`).
pub const EXT_GROUPS: u32 = 32;

assert_sizes! {
    InHeader = 40, InitIn = 64, ForgetIn = 8, ForgetOne = 16, BatchForgetIn = 8, GetattrIn = 16,
    SetattrIn = 88, StatxIn = 24, MknodIn = 16, MkdirIn = 8, RenameIn = 8, Rename2In = 16,
    LinkIn = 8, OpenIn = 8, CreateIn = 16, ReadIn = 40, WriteIn = 40, ReleaseIn = 24, FlushIn = 24,
    FsyncIn = 16, SetxattrIn = 16, GetxattrIn = 8, LkIn = 48, AccessIn = 8, InterruptIn = 8,
    BmapIn = 16, IoctlIn = 32, PollIn = 24, FallocateIn = 32, LseekIn = 24, CopyFileRangeIn = 56,
    SyncfsIn = 8, NotifyRetrieveIn = 40, ExtHeader = 8, SuppGroups = 4,
}
