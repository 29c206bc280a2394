//! `sys_exit` and `sched_process_exit`: where a change that was noticed in a system call is over.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::changes;

#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(_: BtfTracePointContext) -> i32 {
    changes::end();
    0
}

/// exit(2) has no exit.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(_: BtfTracePointContext) -> i32 {
    changes::end();
    0
}
