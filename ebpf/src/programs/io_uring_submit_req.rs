//! `io_uring_submit_req`: where a commit has been submitted and is about to be carried out: the reply lies in
//! its slot, and FUSE has not taken it yet (`io_submit_sqe`, io_uring/io_uring.c).
//!
//! Attached only where replies are of use. Called for every submission of every io_uring of the machine:
//! one that is not ours costs a load and a comparison.
#![expect(
    unsafe_code,
    reason = "loads from the kernel's memory, which the verifier checks"
)]

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use transport::{
    memory::Memory,
    renewal,
    tag::{Tag, TagKind},
};

use crate::{
    caches::Caches,
    request::FieldOffset,
    shm::{self, Maps},
};

#[unsafe(no_mangle)]
static OFFSET_IO_KIOCB_CQE_USER_DATA: FieldOffset = FieldOffset::UNSET;

#[btf_tracepoint(function = "io_uring_submit_req")]
fn io_uring_submit_req(ctx: BtfTracePointContext) -> i32 {
    let request = ctx.arg::<*const u8>(0);
    // SAFETY: the tracepoint's argument is a `struct io_kiocb`, which has a u64 there by the kernel's
    // own BTF; the verifier knows it.
    let user_data = unsafe { OFFSET_IO_KIOCB_CQE_USER_DATA.load::<u64>(request) };
    let Some(tag) = Tag::from_user_data(user_data) else {
        return 0;
    };
    let geometry = shm::geometry();
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // As at an arrival: our rings are submitted to by threads of the daemon alone.
    if process != shm::process() || tag.cookie != geometry.cookie || tag.kind != TagKind::Entry {
        return 0;
    }
    if u32::from(tag.slot.0) >= geometry.depth {
        return 0;
    }
    let element = tag.slot.element(tag.queue, geometry.depth);
    let (Some(slot), Some(payload)) = (Maps.slot(element), shm::payload(element)) else {
        return 0;
    };
    if let Some(kind) = renewal::renew(&Caches, slot, payload)
        && let Some(ops) = shm::ops(tag.queue, kind)
    {
        ops.renewed.add(1);
    }
    0
}
