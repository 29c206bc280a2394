//! `ext4_da_reserve_space`: where a write has reserved blocks, which `st_blocks` shows, after it
//! marked the inode dirty for its times. Whoever writes in a system call has that change open still;
//! kernel threads and io_uring's workers have not.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::changes;

#[btf_tracepoint(function = "ext4_da_reserve_space")]
fn ext4_da_reserve_space(ctx: BtfTracePointContext) -> i32 {
    changes::notice_argument(&ctx, 0);
    0
}
