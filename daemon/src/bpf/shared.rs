//! The memory of the ring protocol, as this process has it.
//!
//! ```text
//!  one reservation of addresses
//!  | control | parks | slots | rings | lanes | counters | ops |   payloads of queue 0, 1, ...    |
//!
//!  one payload, `PAYLOAD_STRIDE` of addresses
//!  |   nothing   | head: pages of a map |  rest: anonymous memory, a huge page from 2 MiB on     |
//!                ^ where the payload begins, at 2 MiB - head of the stride
//! ```
//!
//! The maps are mapped over the reservation at fixed places, so that addresses are known before the
//! programs are loaded. A payload is *stitched*: its head is map memory, where the kernel programs
//! see names and write attributes; its rest is ordinary memory, of which the kernel pins a huge page
//! at a time, where map pages are pinned one by one on the slow path (a page without a mapping,
//! `gup_fast_folio_allowed`, mm/gup.c).
#![expect(
    unsafe_code,
    reason = "maps are mapped at fixed addresses, and seen as the protocol's types"
)]

use std::{
    ffi::c_void,
    fmt,
    os::fd::{AsFd, BorrowedFd},
    ptr::{self, NonNull},
};

use aya::maps::MapData;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use transport::{
    counters::{OpCounters, op_element},
    index::QueueIndex,
    layout::{Control, LANES_PER_QUEUE, Lane, Park, QueueCounters, Ring, Slot},
    memory::Memory,
    wire::Opcode,
};

use super::ledger::Ledger;
use crate::error::{Error, Result};

const PAGE: usize = 4096;
/// The huge page of x86-64 and of arm64 with pages of 4 KiB.
const HUGE: usize = 2 << 20;
/// Addresses set aside for each payload: a huge page of its own behind the boundary, and room for
/// the head before it.
pub const PAYLOAD_STRIDE: usize = 2 * HUGE;

const fn max(one: u32, other: u32) -> u32 {
    if one > other { one } else { other }
}

/// How much memory of each kind a mount has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Queues, one for each possible CPU.
    pub queues: u32,
    /// Slots per queue.
    pub depth: u32,
    /// Rings per queue.
    pub rings: u32,
    /// Consumers.
    pub consumers: u32,
    /// Bytes of a payload in a map: a multiple of 4096, 0 ..= `payload_len`. 0 where the programs read no
    /// names and write no attributes.
    pub head_len: usize,
    /// Bytes of a payload: a multiple of 4096, at most 2 MiB.
    pub payload_len: usize,
}

impl Sizes {
    /// Slots of all queues.
    pub const fn slots(&self) -> u32 {
        self.queues * self.depth
    }

    /// Pages of a payload's head.
    pub const fn head_pages(&self) -> u32 {
        (self.head_len / PAGE) as u32
    }

    /// Elements of each map, by its name in the eBPF object.
    pub const fn elements(&self) -> [(&'static str, u32); 8] {
        [
            ("CONTROL", 1),
            ("PARKS", self.consumers),
            ("SLOTS", self.slots()),
            ("RINGS", self.queues * self.rings),
            ("LANES", self.queues * LANES_PER_QUEUE as u32),
            ("COUNTERS", self.queues),
            ("OPS", self.queues * Opcode::TABLE_LEN as u32),
            // A map has one element at least.
            ("PAYLOADS", max(self.slots() * self.head_pages(), 1)),
        ]
    }

    /// Bytes of memory that cannot be swapped: all of the maps.
    pub fn map_bytes(&self) -> usize {
        Region::of(self)
            .iter()
            .map(|region| region.len)
            .sum::<usize>()
            + self.slots() as usize * self.head_len
    }

    /// Bytes of ordinary memory, if every payload is used in full.
    pub const fn payload_bytes(&self) -> usize {
        self.slots() as usize * self.rest_bytes()
    }

    /// Bytes of memory of either kind.
    pub fn total_bytes(&self) -> u64 {
        self.map_bytes() as u64 + self.payload_bytes() as u64
    }

    /// Bytes of ordinary memory behind a payload's head: a huge page, where most of it is used.
    const fn rest_bytes(&self) -> usize {
        let len = self.payload_len - self.head_len;
        if self.rest_is_huge() { HUGE } else { len }
    }

    /// Whether that memory is to be a huge page: where at least a quarter of it is used.
    const fn rest_is_huge(&self) -> bool {
        self.payload_len - self.head_len >= HUGE / 4
    }
}

/// Where a map lies in the reservation.
#[derive(Clone, Copy, Debug)]
struct Region {
    /// Bytes from the beginning.
    offset: usize,
    /// Bytes: whole pages.
    len: usize,
    /// Elements of the map.
    count: u32,
}

impl Region {
    /// Of all maps but the payloads, in the order of [`Sizes::elements`].
    fn of(sizes: &Sizes) -> [Self; 7] {
        let element = [
            size_of::<Control>(),
            size_of::<Park>(),
            size_of::<Slot>(),
            size_of::<Ring>(),
            size_of::<Lane>(),
            size_of::<QueueCounters>(),
            size_of::<OpCounters>(),
        ];
        let counts = sizes.elements();
        let mut offset = 0;
        std::array::from_fn(|index| {
            let count = counts[index].1;
            let len = (element[index] * count as usize).next_multiple_of(PAGE);
            let region = Self { offset, len, count };
            offset += len;
            region
        })
    }
}

/// Addresses in which the maps of one mount will lie.
#[derive(Debug)]
pub struct Reservation {
    start: NonNull<c_void>,
    len: usize,
    sizes: Sizes,
    /// [`Region::of`] these sizes.
    regions: [Region; 7],
}

// SAFETY: the value owns addresses of the process, which any thread may unmap.
unsafe impl Send for Reservation {}
// SAFETY: through a shared reference only addresses are computed.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Sets addresses aside. No memory is taken yet.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn new(sizes: Sizes) -> Result<Self> {
        debug_assert!(sizes.head_len.is_multiple_of(PAGE) && sizes.head_len <= sizes.payload_len);
        debug_assert!(sizes.payload_len - sizes.head_len <= HUGE);
        let regions = Region::of(&sizes);
        // One huge page more, to begin the payloads at a boundary.
        let len = payloads_offset(&regions) + sizes.slots() as usize * PAYLOAD_STRIDE + HUGE;
        // SAFETY: a mapping at an address that the kernel chooses touches none that exists.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|errno| Error::system("cannot reserve addresses for the rings", errno))?;
        let start = NonNull::new(start).expect("mmap(2) does not choose address 0");
        Ok(Self {
            start,
            len,
            sizes,
            regions,
        })
    }

    /// The address that the first parking word will have.
    pub fn parks_address(&self) -> u64 {
        self.at(self.regions[1].offset).addr().get() as u64
    }

    /// Maps the maps, which are given by their names in the eBPF object, and the payloads' rest.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn fill<'m>(self, map: impl Fn(&str) -> &'m MapData) -> Result<SharedMemory> {
        let names = self.sizes.elements();
        for (region, (name, _)) in self.regions.into_iter().zip(names) {
            self.map_over(region.offset, region.len, map(name).fd().as_fd(), 0)?;
        }
        let heads = map(names[7].0).fd().as_fd();
        for slot in 0..self.sizes.slots() as usize {
            self.stitch(slot, heads)?;
        }
        let ledger = Ledger::new(self.sizes.slots());
        Ok(SharedMemory(self, ledger))
    }

    /// One payload: pages of the map, then anonymous memory.
    fn stitch(&self, slot: usize, heads: BorrowedFd<'_>) -> Result<()> {
        let head_len = self.sizes.head_len;
        let rest = self.payload_offset(slot) + head_len;
        let rest_len = self.sizes.rest_bytes();
        let failed = |errno| {
            Error::system("cannot map memory for the payloads", errno)
                .with_remedy("less --queue-depth or --max-write, or more memory")
        };
        if rest_len > 0 {
            // SAFETY: inside the reservation, behind the boundary of this payload's stride; nothing
            // refers to it yet.
            unsafe {
                mmap_anonymous(
                    self.at(rest).as_ptr(),
                    rest_len,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::FIXED,
                )
            }
            .map_err(failed)?;
        }
        if self.sizes.rest_is_huge() {
            // SAFETY: the mapping of the lines above; the advice does not change what it holds.
            let huge = unsafe { madvise(self.at(rest).as_ptr(), rest_len, Advice::LinuxHugepage) };
            if let Err(errno) = huge {
                tracing::debug!(%errno, "no huge pages for the payloads");
            }
        }
        if head_len == 0 {
            return Ok(());
        }
        self.map_over(
            self.payload_offset(slot),
            head_len,
            heads,
            (slot * head_len) as u64,
        )
    }

    fn map_over(&self, offset: usize, len: usize, map: BorrowedFd<'_>, at: u64) -> Result<()> {
        // SAFETY: `offset` and `len` lie inside the reservation, by the regions and strides they were
        // computed from; nothing refers to those addresses yet.
        let mapped = unsafe {
            mmap(
                self.at(offset).as_ptr(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE,
                map,
                at,
            )
        };
        mapped
            .map(drop)
            .map_err(|errno| Error::system("cannot map a map of the kernel programs", errno))
    }

    /// Where a payload begins: its rest lies at a boundary of huge pages.
    fn payload_offset(&self, slot: usize) -> usize {
        let base = self.start.addr().get() + payloads_offset(&self.regions);
        let boundary = base.next_multiple_of(HUGE) + slot * PAYLOAD_STRIDE + HUGE;
        boundary - self.sizes.head_len - self.start.addr().get()
    }

    fn at(&self, offset: usize) -> NonNull<c_void> {
        assert!(offset <= self.len);
        // SAFETY: inside the reservation, by the line above.
        unsafe { self.start.byte_add(offset) }
    }
}

/// Bytes of the reservation before the payloads.
fn payloads_offset(regions: &[Region; 7]) -> usize {
    let last = regions[6];
    last.offset + last.len
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the addresses are ours, and what borrowed from this value has ended.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.len) };
        if let Err(errno) = unmapped {
            tracing::warn!(%errno, "cannot unmap the rings");
        }
    }
}

/// The maps of one mount as memory of this process.
///
/// The rings of the kernel hold its pages, and registered entries its addresses: it is to be dropped
/// after them.
pub struct SharedMemory(Reservation, Ledger);

impl SharedMemory {
    /// How much there is of each.
    pub fn sizes(&self) -> &Sizes {
        &self.0.sizes
    }

    /// The daemon's own account of the slots.
    pub fn ledger(&self) -> &Ledger {
        &self.1
    }

    /// The address of a slot's header buffer; `element` counts over all queues.
    pub fn header_address(&self, element: u32) -> Option<NonNull<u8>> {
        self.slot(element).map(|slot| NonNull::from(slot).cast())
    }

    /// The address of a slot's payload, of [`Sizes::payload_len`] bytes.
    pub fn payload_address(&self, element: u32) -> Option<NonNull<u8>> {
        let there = element < self.0.sizes.slots();
        there.then(|| self.0.at(self.0.payload_offset(element as usize)).cast())
    }

    /// The addresses of a ring's SQEs and of io_uring's words, for io_uring_setup(2).
    pub fn ring_addresses(&self, element: u32) -> Option<(u64, u64)> {
        let ring = self.ring(element)?;
        let address = |at: *const c_void| at.addr() as u64;
        Some((
            address((&raw const ring.sqes).cast()),
            address((&raw const ring.words).cast()),
        ))
    }

    /// What is counted of an opcode in a queue.
    pub fn ops(&self, queue: QueueIndex, opcode: Opcode) -> Option<&OpCounters> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(6, op_element(queue, opcode)) }
    }

    /// Element `index` of the map that is number `region` in [`Sizes::elements`].
    ///
    /// # Safety
    ///
    /// `T` is the type of that map's elements: made of atomics, and valid for any bytes.
    unsafe fn element<T>(&self, region: usize, index: u32) -> Option<&T> {
        let region = self.0.regions.get(region)?;
        if index >= region.count {
            return None;
        }
        let at = self.0.at(region.offset);
        // SAFETY: inside the region, which holds `count` elements of this type (`Region::of`).
        let element = unsafe { at.cast::<T>().add(index as usize) };
        // SAFETY: mapped by `fill` for as long as `self` lives; aligned, since regions begin at pages
        // and `T`'s size is a multiple of its alignment; shared words are atomics (`# Safety`).
        Some(unsafe { element.as_ref() })
    }
}

impl Memory for SharedMemory {
    fn control(&self) -> Option<&Control> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(0, 0) }
    }

    fn slot(&self, element: u32) -> Option<&Slot> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(2, element) }
    }

    fn ring(&self, element: u32) -> Option<&Ring> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(3, element) }
    }

    fn lane(&self, element: u32) -> Option<&Lane> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(4, element) }
    }

    fn park(&self, consumer: u32) -> Option<&Park> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(1, consumer) }
    }

    fn counters(&self, queue: u32) -> Option<&QueueCounters> {
        // SAFETY: the map's type in ebpf/src/shm.rs.
        unsafe { self.element(5, queue) }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedMemory").field(&self.0.sizes).finish()
    }
}
