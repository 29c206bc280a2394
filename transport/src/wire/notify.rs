//! Notifications: what the daemon tells the kernel unasked, written to `/dev/fuse` behind an
//! [`super::OutHeader`] whose `unique` is 0 and whose `error` is one of these codes.

use super::{InvalEntryFlags, assert_sizes, request::wire_structs};
use bytemuck::{Pod, Zeroable};

/// `enum fuse_notify_code`, open.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NotifyCode(pub i32);

#[expect(missing_docs, reason = "the names are the protocol's own")]
impl NotifyCode {
    pub const POLL: Self = Self(1);
    pub const INVAL_INODE: Self = Self(2);
    pub const INVAL_ENTRY: Self = Self(3);
    pub const STORE: Self = Self(4);
    pub const RETRIEVE: Self = Self(5);
    pub const DELETE: Self = Self(6);
    pub const RESEND: Self = Self(7);
    pub const INC_EPOCH: Self = Self(8);
    pub const PRUNE: Self = Self(9);
}

wire_structs! {
    /// Attributes of an inode, and its cached data from `off` for `len` bytes, are stale.
    NotifyInvalInodeOut {
        nodeid: u64,
        /// Negative: attributes only.
        off: i64,
        /// 0 or less: to the end of the file.
        len: i64,
    }
    /// A name is stale; it follows, closed by a zero that `namelen` does not count.
    NotifyInvalEntryOut { parent: u64, namelen: u32, flags: InvalEntryFlags, }
    /// A name is gone; it follows, closed by a zero that `namelen` does not count.
    NotifyDeleteOut { parent: u64, child: u64, namelen: u32, padding: u32, }
    /// Data for the page cache; `size` bytes follow.
    NotifyStoreOut { nodeid: u64, offset: u64, size: u32, padding: u32, }
    /// Asks for cached data: a NOTIFY_REPLY with `notify_unique` as its `unique` follows.
    NotifyRetrieveOut { notify_unique: u64, nodeid: u64, offset: u64, size: u32, padding: u32, }
    /// Wakes those who poll the file whose POLL carried `kh`.
    NotifyPollWakeupOut { kh: u64, }
}

assert_sizes! {
    NotifyInvalInodeOut = 24, NotifyInvalEntryOut = 16, NotifyDeleteOut = 24, NotifyStoreOut = 24,
    NotifyPollWakeupOut = 8, NotifyRetrieveOut = 32,
}
