//! `ext4_journal_start_inode`: in whoever is about to change an inode of ext4. Of interest for
//! extended attributes and ACLs, which mark no inode dirty.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::changes;

/// `EXT4_HT_XATTR` (fs/ext4/ext4_jbd2.h): the handle's purpose, the tracepoint's fifth argument.
const XATTR: i32 = 10;

#[btf_tracepoint(function = "ext4_journal_start_inode")]
fn ext4_journal_start_inode(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(4) == XATTR {
        changes::notice_argument(&ctx, 0);
    }
    0
}
