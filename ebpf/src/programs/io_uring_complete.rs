//! `io_uring_complete`: where a request has arrived in its slot and its completion is being posted, before the daemon
//! can see it (docs/protocol.md, 2.1).
//!
//! Called for every completion of every io_uring of the machine: one that is not ours costs a load
//! and a comparison.
#![expect(
    unsafe_code,
    reason = "loads from the kernel's memory, which the verifier checks"
)]

use core::ptr;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use transport::{
    answer::{Known, answer, denied, may_answer},
    index::{LaneIndex, Position, QueueIndex},
    program::{Event, Outcome, Verdict, on_completion},
    rules::Ruling,
    slot::{Arrived, Reply},
    tag::Tag,
    wire::Opcode,
};

use crate::{
    caches::{self, Caches},
    rules,
    shm::{self, Maps},
};

/// Where `cached_cq_tail` lies in `struct io_ring_ctx`, in bytes; set by user space.
#[unsafe(no_mangle)]
static OFFSET_IO_RING_CTX_CACHED_CQ_TAIL: u32 = 0;
/// Where `res` lies in `struct io_uring_cqe`, which begins with `user_data` (include/uapi/linux/
/// io_uring.h).
const CQE_RES: usize = 8;

#[btf_tracepoint(function = "io_uring_complete")]
fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    let cqe = ctx.arg::<*const u8>(2);
    // SAFETY: the tracepoint's third argument is a `struct io_uring_cqe`; the verifier knows it.
    let user_data = unsafe { *cqe.cast::<u64>() };
    let Some(tag) = Tag::from_user_data(user_data) else {
        return 0;
    };
    let geometry = shm::geometry();
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // All completions of our rings run in threads of the daemon, and nobody else's do (protocol 2.2);
    // the tag alone anybody could use.
    if process != shm::process() || tag.cookie != geometry.cookie {
        return 0;
    }
    // SAFETY: as above; `res` is an i32 behind `user_data`.
    let res = unsafe { *cqe.add(CQE_RES).cast::<i32>() };
    let ring = ctx.arg::<*const u8>(0);
    // SAFETY: made from a reference; volatile, because user space sets the value before the load.
    let offset = unsafe { ptr::read_volatile(&raw const OFFSET_IO_RING_CTX_CACHED_CQ_TAIL) };
    // SAFETY: the tracepoint's first argument is a `struct io_ring_ctx`, which has a u32 there.
    let published = unsafe { *ring.add(offset as usize).cast::<u32>() };
    let event = Event {
        ring: tag.ring,
        queue: tag.queue,
        index: Position(published.wrapping_sub(1)),
        user_data,
        res,
    };
    let mut opcode = Opcode(0);
    let mut verdict = Decided::default();
    let outcome = on_completion(&Maps, &geometry, event, |arrived, element| {
        opcode = opcode_of(arrived);
        decide(opcode, arrived, element, &mut verdict)
    });
    count(tag.queue, opcode, outcome, verdict);
    0
}

#[inline(always)]
fn opcode_of(arrived: &Arrived<'_>) -> Opcode {
    let word = arrived.slot().header.in_out().first();
    Opcode(word.map_or(0, |word| (word.get() >> 32) as u32))
}

/// What is to be counted of a verdict.
#[derive(Clone, Copy, Default)]
struct Decided {
    refused: bool,
    untrue: bool,
    bytes: u32,
}

/// What becomes of a request.
#[inline(always)]
fn decide(opcode: Opcode, arrived: &Arrived<'_>, element: u32, decided: &mut Decided) -> Verdict {
    let ruling = rules::rule(opcode, arrived);
    match ruling {
        Ruling::Pass | Ruling::Lane(_) => {}
        Ruling::Deny(errno) => {
            decided.refused = true;
            return Verdict::Deny(i32::from(errno));
        }
        Ruling::Undecided => return Verdict::Dispatch(lane_of(opcode), opcode),
    }
    if !may_answer(opcode) || !caches::are_on() {
        let lane = match ruling {
            Ruling::Lane(_) => LaneIndex::BULK,
            _ => lane_of(opcode),
        };
        return Verdict::Dispatch(lane, opcode);
    }
    // What is answered at once needs no lane; and what may be is not bulk, wherever the daemon serves
    // it. The verifier walks this once for all rulings.
    let dispatch = Verdict::Dispatch(LaneIndex::METADATA, opcode);
    let Some(payload) = shm::payload(element) else {
        return dispatch;
    };
    if let Some(errno) = denied(&Caches, opcode, arrived, payload) {
        decided.refused = true;
        return Verdict::Deny(errno);
    }
    match answer(&Caches, opcode, arrived, payload) {
        Known::Answer(reply) => {
            if let Reply::Body(len) = reply {
                decided.bytes = len;
            }
            Verdict::Answer(reply)
        }
        Known::Nothing => dispatch,
        Known::Untrue => {
            decided.untrue = true;
            dispatch
        }
    }
}

/// Counts by opcode; a request that was not looked into is of none.
#[inline(always)]
fn count(queue: QueueIndex, opcode: Opcode, outcome: Outcome, decided: Decided) {
    let Some(ops) = shm::ops(queue, opcode) else {
        return;
    };
    match outcome {
        Outcome::Foreign | Outcome::Woken => return,
        Outcome::Answered if decided.refused => ops.denied.add(1),
        Outcome::Answered => {
            ops.answered.add(1);
            ops.bytes_answered.add(u64::from(decided.bytes));
        }
        Outcome::Dispatched => {
            ops.dispatched.add(1);
            if decided.untrue {
                ops.untrue.add(1);
            }
        }
        Outcome::Standing => {}
    }
    ops.arrivals.add(1);
}

/// Requests that move data, or whose lower operation may take long, do not stand before those for
/// names and attributes.
#[inline(always)]
fn lane_of(opcode: Opcode) -> LaneIndex {
    match opcode {
        Opcode::READ
        | Opcode::WRITE
        | Opcode::FSYNC
        | Opcode::FSYNCDIR
        | Opcode::SYNCFS
        | Opcode::FALLOCATE
        | Opcode::COPY_FILE_RANGE
        | Opcode::COPY_FILE_RANGE_64 => LaneIndex::BULK,
        _ => LaneIndex::METADATA,
    }
}
