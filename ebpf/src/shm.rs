//! The memory of the ring protocol as maps, and what the programs know of the mount.
//!
//! The daemon sets the sizes of the maps and the constants before it loads the programs, and maps the
//! same memory (`daemon/src/bpf/shared.rs`). `transport::layout` says what lies in it.
#![expect(unsafe_code, reason = "constants that user space sets before the load")]

use core::ptr;

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use transport::{
    counters::{OpCounters, op_element},
    cq::Engine,
    index::QueueIndex,
    layout::{Control, Lane, Park, QueueCounters, Ring, Slot},
    memory::{Geometry, Memory},
    sync::Word,
    wire::Opcode,
};

#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static PARKS: Array<Park> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static RINGS: Array<Ring> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static LANES: Array<Lane> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static COUNTERS: Array<QueueCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The same by opcode.
#[map]
static OPS: Array<OpCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The heads of all payloads, page by page.
#[map]
static PAYLOADS: Array<[Word; PAGE_WORDS]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

const PAGE_WORDS: usize = 4096 / 8;

/// The head of a slot's payload, as far as its first page; `element` counts over all queues.
#[inline(always)]
pub fn payload(element: u32) -> Option<&'static [Word; PAGE_WORDS]> {
    PAYLOADS.get(element.wrapping_mul(SHM_HEAD_PAGES.get()))
}

/// What is counted of an opcode in a queue.
#[inline(always)]
pub fn ops(queue: QueueIndex, opcode: Opcode) -> Option<&'static OpCounters> {
    OPS.get(op_element(queue, opcode))
}

/// The maps of this mount.
pub struct Maps;

impl Memory for Maps {
    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        CONTROL.get(0)
    }

    #[inline(always)]
    fn slot(&self, element: u32) -> Option<&Slot> {
        SLOTS.get(element)
    }

    #[inline(always)]
    fn ring(&self, element: u32) -> Option<&Ring> {
        RINGS.get(element)
    }

    #[inline(always)]
    fn lane(&self, element: u32) -> Option<&Lane> {
        LANES.get(element)
    }

    #[inline(always)]
    fn park(&self, consumer: u32) -> Option<&Park> {
        PARKS.get(consumer)
    }

    #[inline(always)]
    fn counters(&self, queue: u32) -> Option<&QueueCounters> {
        COUNTERS.get(queue)
    }
}

/// A number that user space sets before it loads the program, and nobody changes afterwards.
#[repr(transparent)]
pub struct Constant<T>(pub T);

impl<T: Copy> Constant<T> {
    /// The value set at load time; the verifier takes it for a constant.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: the pointer is made from a reference. Volatile, for the compiler must not take the
        // value in this source for the one at load time.
        unsafe { ptr::read_volatile(&raw const self.0) }
    }
}

#[unsafe(no_mangle)]
static SHM_KERNEL_ENGINE: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static SHM_QUEUES: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static SHM_DEPTH: Constant<u32> = Constant(1);
/// Pages of each payload's head.
#[unsafe(no_mangle)]
static SHM_HEAD_PAGES: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static SHM_CONSUMERS: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static SHM_COOKIE: Constant<u32> = Constant(0);
/// The daemon's process id, as the initial PID namespace has it. 0: no ring is ours.
#[unsafe(no_mangle)]
static SHM_PROCESS: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static SHM_PARKS_ADDRESS: Constant<u64> = Constant(0);

/// The process whose rings are this mount's.
#[inline(always)]
pub fn process() -> u32 {
    SHM_PROCESS.get()
}

/// The mount, as it was when the programs were loaded.
#[inline(always)]
pub fn geometry() -> Geometry {
    Geometry {
        engine: if SHM_KERNEL_ENGINE.get() == 0 {
            Engine::Worker
        } else {
            Engine::Kernel
        },
        queues: SHM_QUEUES.get(),
        depth: SHM_DEPTH.get(),
        consumers: SHM_CONSUMERS.get(),
        cookie: SHM_COOKIE.get() as u16,
        parks_address: SHM_PARKS_ADDRESS.get(),
    }
}
