//! `fuse_request_end`: where the request's answer has arrived, before the application learns of it.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{request::Request, stats};

#[btf_tracepoint(function = "fuse_request_end")]
fn fuse_request_end(ctx: BtfTracePointContext) -> i32 {
    if let Some(request) = Request::of_our_mount(&ctx) {
        stats::ended(&request);
    }
    0
}
