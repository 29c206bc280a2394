//! Requests under way, what is asked for, and the ring buffer to user space.
#![expect(
    unsafe_code,
    reason = "the kernel's helpers, elements of maps, constants set at load"
)]

use core::ptr;

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
    },
    macros::map,
    maps::{Array, LruHashMap, RingBuf},
};
use transport::trace::{Filter, Life};

use crate::{
    device,
    fields::{Fields, unique_of},
    request::{Request, RequestId},
};

/// Requests that were sent and are asked for. Bounded: when it is full the oldest make room, and are
/// not told of.
#[map]
static LIVES: LruHashMap<RequestId, Life> = LruHashMap::with_max_entries(8192, 0);
/// Which request a number belongs to, from its arrival to its commit.
#[map]
static NUMBERS: LruHashMap<u64, RequestId> = LruHashMap::with_max_entries(8192, 0);
/// To user space, which sets its size.
#[map]
static ENDED: RingBuf = RingBuf::with_byte_size(4096, 0);
/// Lives that found the ring buffer full.
#[map]
static DROPPED: Array<u64> = Array::with_max_entries(1, 0);

/// What user space sets before it loads the programs.
#[unsafe(no_mangle)]
static TRACE_OPCODES: u64 = u64::MAX;
#[unsafe(no_mangle)]
static TRACE_BY_UID: u32 = 0;
#[unsafe(no_mangle)]
static TRACE_UID: u32 = 0;
#[unsafe(no_mangle)]
static TRACE_SLOW_NS: u64 = 0;
/// The daemon's process id, as the initial PID namespace has it.
#[unsafe(no_mangle)]
static TRACE_PROCESS: u32 = 0;

#[inline(always)]
fn constant<T: Copy>(place: &'static T) -> T {
    // SAFETY: made from a reference; volatile, for the compiler must not take the value in this
    // source for the one at load time.
    unsafe { ptr::read_volatile(place) }
}

/// `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_smp_processor_id() & 0xffff }
}

/// Whether the daemon's process runs: rings of others are none of ours.
#[inline(always)]
pub fn is_of_daemon() -> bool {
    (bpf_get_current_pid_tgid() >> 32) as u32 == constant(&TRACE_PROCESS)
}

/// A request is sent. Its number it gets later.
#[inline(always)]
pub fn begin(request: &Request) {
    let opcode = request.opcode().0;
    let fields = Fields::of(request);
    let uid = fields.uid();
    let by_uid = constant(&TRACE_BY_UID) != 0;
    if constant(&TRACE_OPCODES) & Filter::bit(opcode) == 0
        || (by_uid && uid != constant(&TRACE_UID))
    {
        return;
    }
    let life = Life {
        sent_ns: now_ns(),
        nodeid: fields.nodeid(),
        opcode,
        uid,
        gid: fields.gid(),
        pid: fields.pid(),
        cpus: cpu(),
        name: bpf_get_current_comm().unwrap_or_default(),
        ..Life::default()
    };
    let _ = LIVES.insert(request.id(), life, 0); // full: not told of
}

/// A request lies in a ring entry.
#[inline(always)]
pub fn arrived(id: RequestId) {
    let Some(life) = LIVES.get_ptr_mut(id) else {
        return;
    };
    let Some(unique) = unique_of(id) else {
        return;
    };
    // SAFETY: an element of the map. Should it be another's by now, then that one's life is wrong, and
    // nothing worse.
    unsafe {
        (*life).arrived_ns = now_ns();
    }
    let _ = NUMBERS.insert(unique, id, 0); // full: its commit is not seen
}

/// The answer of a request is given.
#[inline(always)]
pub fn committed(unique: u64) {
    // SAFETY: copied out at once.
    let Some(id) = (unsafe { NUMBERS.get(unique).copied() }) else {
        return;
    };
    let _ = NUMBERS.remove(unique);
    if let Some(life) = LIVES.get_ptr_mut(id) {
        // SAFETY: as in `arrived`.
        unsafe {
            (*life).committed_ns = now_ns();
        }
    }
}

/// A request has ended.
#[inline(always)]
pub fn end(request: &Request) {
    let id = request.id();
    let Some(kept) = LIVES.get_ptr(id) else {
        return;
    };
    // SAFETY: an element of the map, copied out at once.
    let mut life = unsafe { ptr::read(kept) };
    let _ = LIVES.remove(id); // fails if it was evicted meanwhile, which is as good
    life.ended_ns = now_ns();
    if life.total_ns() < constant(&TRACE_SLOW_NS) {
        return;
    }
    let fields = Fields::of(request);
    life.unique = fields.unique();
    if life.arrived_ns == 0 {
        life.arrived_ns = device::taken_ns(life.unique).unwrap_or(0);
        life.committed_ns = device::given_ns().unwrap_or(0);
    }
    life.error = request.error();
    life.in_len = fields.in_len();
    life.out_len = fields.out_len();
    life.cpus |= cpu() << 16;
    if ENDED.output::<Life>(&life, 0).is_err()
        && let Some(dropped) = DROPPED.get_ptr_mut(0)
    {
        // SAFETY: the one element of the map. Two CPUs may count at once and count one: it says that
        // there are some, and about how many.
        unsafe {
            *dropped += 1;
        }
    }
}
