//! `fuse_request_send`: in the application (or a kernel worker), just before the request is queued for the daemon.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{request::Request, stats};

#[btf_tracepoint(function = "fuse_request_send")]
fn fuse_request_send(ctx: BtfTracePointContext) -> i32 {
    if let Some(request) = Request::of_our_mount(&ctx) {
        stats::sent(&request);
    }
    0
}
