//! Array maps as memory of this process.
#![expect(
    unsafe_code,
    reason = "memory that the kernel writes too is reached by pointer"
)]

use std::{
    fmt,
    marker::PhantomData,
    mem::align_of,
    os::fd::{AsFd, AsRawFd},
};

use aya::maps::{MapData, MapType};
use memmap2::{MmapOptions, MmapRaw};
use transport::{
    counters::{OpCounters, QueueCounters},
    layout::{Control, Lane, Slot},
    stats::CpuStats,
};

use crate::error::{Error, Result};

/// What may lie in an array map that both sides access at any time.
///
/// # Safety
///
/// Every bit pattern must be a value of the type, and every word that the kernel's side writes must
/// be an atomic: user space holds a shared reference while the programs write.
pub unsafe trait MapElement: Sized {}

// SAFETY: integers only, and those that programs write are `Tally`s, which are atomics.
unsafe impl MapElement for CpuStats {}
// SAFETY: words of `transport::sync` only, which are atomics, and padding.
unsafe impl MapElement for Control {}
// SAFETY: words of `transport::sync` only, which are atomics.
unsafe impl MapElement for QueueCounters {}
// SAFETY: words of `transport::sync` only, which are atomics.
unsafe impl MapElement for OpCounters {}
// SAFETY: words of `transport::sync` only, which are atomics, and padding.
unsafe impl MapElement for Lane {}
// SAFETY: words of `transport::sync` only, which are atomics, and padding.
unsafe impl MapElement for Slot {}

/// The elements of an array map with `BPF_F_MMAPABLE`, mapped to be read.
pub struct MappedArray<T> {
    /// At least `len * STRIDE` bytes of the map, mapped until this value is dropped.
    memory: MmapRaw,
    len: usize,
    elements: PhantomData<T>,
}

// SAFETY: the value owns its mapping, and gives out shared references only; `T: Sync` says that
// these may be used from any thread.
unsafe impl<T: MapElement + Sync> Sync for MappedArray<T> {}

impl<T: MapElement> MappedArray<T> {
    /// The distance of elements in bytes: the kernel rounds a value's size up to 8
    /// (`array_map_alloc`, kernel/bpf/arraymap.c).
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps all elements of `map`. The mapping keeps the map alive.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refuses the mapping, as it does for a map without
    /// `BPF_F_MMAPABLE`.
    ///
    /// # Panics
    ///
    /// If the map is not an array of elements of `T`'s size.
    pub fn new(map: &MapData) -> Result<Self> {
        let info = map
            .info()
            .map_err(|error| refused(std::io::Error::other(error)))?;
        assert!(
            matches!(info.map_type(), Ok(MapType::Array)),
            "only arrays can be mapped"
        );
        assert_eq!(
            info.value_size() as usize,
            size_of::<T>(),
            "elements of another type"
        );
        let len = info.max_entries() as usize;
        let memory = MmapOptions::new()
            .len(len * Self::STRIDE)
            .map_raw_read_only(map.fd().as_fd().as_raw_fd())
            .map_err(refused)?;
        // a mapping begins with a page, hence every element is aligned
        const { assert!(align_of::<T>() <= 4096 && Self::STRIDE.is_multiple_of(align_of::<T>())) };
        Ok(Self {
            memory,
            len,
            elements: PhantomData,
        })
    }

    /// All elements, in the order of their indices.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        (0..self.len).map(|index| {
            // SAFETY: index < len, and `new` mapped len * STRIDE bytes.
            let element = unsafe { self.memory.as_ptr().add(index * Self::STRIDE) };
            // SAFETY: the element lies in the mapping, which lives as long as `self`; it is aligned
            // (asserted in `new`); every bit pattern is a value, and what the kernel writes
            // meanwhile are atomics (contract of `MapElement`).
            unsafe { &*element.cast::<T>() }
        })
    }
}

impl<T> fmt::Debug for MappedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedArray")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

fn refused(error: std::io::Error) -> Error {
    Error::system("cannot map a map of the kernel programs", error)
}
