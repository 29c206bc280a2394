//! Counting: the map of starts and the map of counters.
#![expect(unsafe_code, reason = "the kernel's helpers")]

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, LruHashMap},
};
use transport::stats::{CpuStats, LatencyClass, OpcodeSlot};

use crate::request::{Request, RequestId};

/// When the requests under way were sent, by the clock of `bpf_ktime_get_ns`.
///
/// Bounded: when it is full the oldest start makes room for a new one, and its request's end will be
/// counted as unmatched. User space sets the size.
#[map]
static STARTS: LruHashMap<RequestId, u64> = LruHashMap::with_max_entries(1, 0);

/// The counters, an element a CPU, mapped by user space, which sets the number of elements.
#[map]
static STATS: Array<CpuStats> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Counts `request` as sent and keeps the time.
#[inline(always)]
pub fn sent(request: &Request) {
    let Some(stats) = this_cpu() else { return };
    stats.opcode(OpcodeSlot::of(request.opcode())).sent.add(1);
    if STARTS.insert(request.id(), now_ns(), 0).is_err() {
        stats.starts_dropped.add(1);
    }
}

/// Counts `request` as ended, and its latency where its start is known.
#[inline(always)]
pub fn ended(request: &Request) {
    let Some(stats) = this_cpu() else { return };
    let opcode = stats.opcode(OpcodeSlot::of(request.opcode()));
    opcode.ended.add(1);
    if request.error() != 0 {
        opcode.failed.add(1);
    }
    let Some(start_ns) = take_start(request.id()) else {
        opcode.unmatched.add(1);
        return;
    };
    let latency_ns = now_ns().saturating_sub(start_ns);
    opcode.latency_sum_ns.add(latency_ns);
    opcode.latency(LatencyClass::of(latency_ns)).add(1);
}

#[inline(always)]
fn take_start(id: RequestId) -> Option<u64> {
    // SAFETY: the element is copied out at once, and the memory stays the map's. Should it be given
    // to another request between look-up and copy, then the copy is that request's start: a wrong
    // latency, not a wrong access.
    let start_ns = unsafe { STARTS.get(id).copied() }?;
    // fails if it was evicted meanwhile, which is as good
    let _ = STARTS.remove(id);
    Some(start_ns)
}

#[inline(always)]
fn this_cpu() -> Option<&'static CpuStats> {
    // SAFETY: the helper has no precondition
    STATS.get(unsafe { bpf_get_smp_processor_id() })
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper has no precondition
    unsafe { bpf_ktime_get_ns() }
}
