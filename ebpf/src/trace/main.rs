//! The life of requests, for `shmfuse trace`: an object of its own, loaded only while somebody traces.
//!
//! Division of labour: all programs but one note when a request passes their tracepoint; that one hands
//! the whole life to user space, if it is one that is asked for. What is asked for is known when the
//! programs are loaded, so that nothing else costs more than a comparison.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`lives`] | requests under way, what is asked for, the ring buffer (unsafe) |
//! | [`fields`] | more fields of a request (unsafe) |
//! | [`entry`] | from a completion or a commit to its request (unsafe) |
//! | [`device`] | the same from a system call on `/dev/fuse` (unsafe) |
//! | [`request`] | the kernel's `struct fuse_req`, as far as we read it (unsafe) |
//!
//! How the tracepoints hang together (fs/fuse/dev.c, dev_uring.c; io_uring/io_uring.h, io_uring.c): `fuse_request_send`
//! in the task that asks, `io_uring_complete` when the request has been copied into a ring entry,
//! `io_uring_submit_req` when the daemon (or a program for it) commits the answer, `fuse_request_end` when
//! that has been copied out. A mount without rings has the first and the last; between them, `sys_exit` when the
//! daemon has read the request, and `sys_enter` when it is about to write the answer. These two are attached
//! for such a mount alone: every system call of the machine passes them.
#![no_std]
#![no_main]

mod device;
mod entry;
mod fields;
mod lives;
#[path = "../request.rs"]
mod request;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::request::Request;

#[btf_tracepoint(function = "fuse_request_send")]
fn trace_send(ctx: BtfTracePointContext) -> i32 {
    if let Some(request) = Request::of_our_mount(&ctx) {
        lives::begin(&request);
    }
    0
}

#[btf_tracepoint(function = "io_uring_complete")]
fn trace_arrival(ctx: BtfTracePointContext) -> i32 {
    if lives::is_of_daemon()
        && let Some(request) = entry::completed(ctx.arg::<*const u8>(1))
    {
        lives::arrived(request);
    }
    0
}

#[btf_tracepoint(function = "io_uring_submit_req")]
fn trace_commit(ctx: BtfTracePointContext) -> i32 {
    if lives::is_of_daemon()
        && let Some(unique) = entry::committed(ctx.arg::<*const u8>(0))
    {
        lives::committed(unique);
    }
    0
}

#[btf_tracepoint(function = "sys_exit")]
fn trace_taken(ctx: BtfTracePointContext) -> i32 {
    if lives::is_of_daemon() {
        device::call_ends(&ctx);
    }
    0
}

#[btf_tracepoint(function = "sys_enter")]
fn trace_given(ctx: BtfTracePointContext) -> i32 {
    if lives::is_of_daemon() {
        device::call_begins(&ctx);
    }
    0
}

#[btf_tracepoint(function = "fuse_request_end")]
fn trace_end(ctx: BtfTracePointContext) -> i32 {
    if let Some(request) = Request::of_our_mount(&ctx) {
        lives::end(&request);
    }
    0
}

/// The kernel's helpers for tracing are for GPL-compatible programs only.
#[expect(unsafe_code, reason = "the kernel's loader looks for this section")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The language asks for it; nothing calls it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
