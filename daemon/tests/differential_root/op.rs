//! The operations, and the small world of names that they act on.

use crate::common::identity::Who;
use rustix::fs::{AtFlags, FallocateFlags, OFlags, RenameFlags, XattrFlags};

/// Directories that exist at the start (see `World::make`), and names that come and go. Few, so
/// that operations meet.
pub const PATHS: &[&str] = &[
    "a",
    "b",
    "dir",
    "dir/a",
    "dir/b",
    "dir/sub",
    "dir/sub/a",
    "dir/link",
    "link",
    "sticky",
    "sticky/a",
    "sticky/b",
    "setgid",
    "setgid/a",
    "setgid/sub",
    "setgid/sub/a",
    "acl",
    "acl/a",
    "acl/sub",
    "acl/sub/a",
    "private",
    "private/a",
];

/// Open files at a time.
pub const SLOTS: usize = 4;

/// Index into [`PATHS`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name(pub usize);

impl Name {
    /// Relative to the world's directory.
    pub fn path(self) -> &'static str {
        PATHS[self.0]
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.path())
    }
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Time {
    /// As it is.
    Omit,
    /// Now.
    Now,
    /// Seconds and nanoseconds; before 2001, by which `observe` tells it from now.
    At(i64, u32),
}

/// One operation, as one system call with its own arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Open {
        slot: usize,
        name: Name,
        flags: OFlags,
        mode: u32,
    },
    Tmpfile {
        slot: usize,
        name: Name,
        flags: OFlags,
        mode: u32,
    },
    LinkOpen {
        slot: usize,
        to: Name,
    },
    Close {
        slot: usize,
    },
    Read {
        slot: usize,
        len: usize,
    },
    ReadAt {
        slot: usize,
        at: u64,
        len: usize,
    },
    Write {
        slot: usize,
        len: usize,
        byte: u8,
    },
    WriteAt {
        slot: usize,
        at: u64,
        len: usize,
        byte: u8,
    },
    SetLen {
        slot: usize,
        len: u64,
    },
    Truncate {
        name: Name,
        len: u64,
    },
    Allocate {
        slot: usize,
        flags: FallocateFlags,
        at: u64,
        len: u64,
    },
    SeekData {
        slot: usize,
        at: u64,
    },
    SeekHole {
        slot: usize,
        at: u64,
    },
    CopyRange {
        from: usize,
        to: usize,
        from_at: u64,
        to_at: u64,
        len: usize,
    },
    Sync {
        slot: usize,
        data_only: bool,
    },
    DropPages {
        slot: usize,
    },
    Rename {
        from: Name,
        to: Name,
        flags: RenameFlags,
    },
    Link {
        from: Name,
        to: Name,
        flags: AtFlags,
    },
    Symlink {
        target: &'static str,
        name: Name,
    },
    ReadLink {
        name: Name,
    },
    Unlink {
        name: Name,
    },
    MakeDir {
        name: Name,
        mode: u32,
    },
    RemoveDir {
        name: Name,
    },
    MakeNode {
        name: Name,
        mode: u32,
        device: (u32, u32),
    },
    Chmod {
        name: Name,
        mode: u32,
    },
    ChmodOpen {
        slot: usize,
        mode: u32,
    },
    Chown {
        name: Name,
        uid: Option<u32>,
        gid: Option<u32>,
        flags: AtFlags,
    },
    ChownOpen {
        slot: usize,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    SetTimes {
        name: Name,
        accessed: Time,
        modified: Time,
        flags: AtFlags,
    },
    SetTimesOpen {
        slot: usize,
        accessed: Time,
        modified: Time,
    },
    SetXattr {
        name: Name,
        key: &'static str,
        value: Vec<u8>,
        flags: XattrFlags,
    },
    GetXattr {
        name: Name,
        key: &'static str,
        room: usize,
    },
    ListXattrs {
        name: Name,
        room: usize,
    },
    RemoveXattr {
        name: Name,
        key: &'static str,
    },
    SetXattrOpen {
        slot: usize,
        key: &'static str,
        value: Vec<u8>,
    },
    ListDir {
        name: Name,
    },
    Stat {
        name: Name,
        flags: AtFlags,
    },
    Access {
        name: Name,
        mode: u32,
    },
    GetFlags {
        slot: usize,
    },
    SetNoDump {
        slot: usize,
        on: bool,
    },
}

/// An operation and who does it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Who.
    pub who: Who,
    /// Under which umask.
    pub umask: u32,
    /// Does what.
    pub op: Op,
}
