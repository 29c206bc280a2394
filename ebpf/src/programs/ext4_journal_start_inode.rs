//! `ext4_journal_start_inode`: in whoever is about to change an inode of ext4. Of interest for what
//! marks no inode dirty: extended attributes and ACLs, flags (`ext4_ioctl_setflags`), projects
//! (`ext4_ioctl_setproject`), and files that change places (fs/ext4/ioctl.c, migrate.c).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::changes;

// Purposes of a handle (`EXT4_HT_*`, fs/ext4/ext4_jbd2.h), the tracepoint's fifth argument. The
// others are for data, names and truncation, which mark inodes dirty.
const MISC: i32 = 0;
const INODE: i32 = 1;
const QUOTA: i32 = 6;
const MIGRATE: i32 = 8;
const MOVE_EXTENTS: i32 = 9;
const XATTR: i32 = 10;

#[btf_tracepoint(function = "ext4_journal_start_inode")]
fn ext4_journal_start_inode(ctx: BtfTracePointContext) -> i32 {
    if let MISC | INODE | QUOTA | MIGRATE | MOVE_EXTENTS | XATTR = ctx.arg::<i32>(4) {
        changes::notice_argument(&ctx, 0);
    }
    0
}
