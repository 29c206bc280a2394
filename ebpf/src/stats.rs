//! Counting: the map of starts and the map of counters.
#![expect(unsafe_code, reason = "the kernel's helpers")]

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::Array,
};
use transport::{
    starts::{SETS, StartSet, set_of},
    stats::{CpuStats, LatencyClass, OpcodeSlot},
};

use crate::request::Request;

/// When the requests under way were sent, by the clock of `bpf_ktime_get_ns`.
#[map]
static STARTS: Array<StartSet> = Array::with_max_entries(SETS, 0);

/// The counters, an element a CPU, mapped by user space, which sets the number of elements.
#[map]
static STATS: Array<CpuStats> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Counts `request` as sent and keeps the time.
#[inline(always)]
pub fn sent(request: &Request) {
    let Some(stats) = this_cpu() else { return };
    stats.opcode(OpcodeSlot::of(request.opcode())).sent.add(1);
    let id = request.number();
    let kept = STARTS
        .get(set_of(id))
        .is_some_and(|set| set.keep(id, now_ns()));
    if !kept {
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
    let id = request.number();
    let start_ns = STARTS.get(set_of(id)).and_then(|set| set.take(id));
    let Some(start_ns) = start_ns else {
        opcode.unmatched.add(1);
        return;
    };
    let latency_ns = now_ns().saturating_sub(start_ns);
    opcode.latency_sum_ns.add(latency_ns);
    opcode.latency(LatencyClass::of(latency_ns)).add(1);
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
