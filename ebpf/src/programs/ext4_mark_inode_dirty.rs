//! `ext4_mark_inode_dirty`: in whoever changes an inode of ext4, all but its extended attributes.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::changes;

#[btf_tracepoint(function = "ext4_mark_inode_dirty")]
fn ext4_mark_inode_dirty(ctx: BtfTracePointContext) -> i32 {
    changes::notice_argument(&ctx, 0);
    0
}
