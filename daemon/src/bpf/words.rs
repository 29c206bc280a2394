//! Array maps as memory that this process writes too.
#![expect(
    unsafe_code,
    reason = "memory that the kernel writes too is reached by pointer"
)]

use std::{
    fmt,
    marker::PhantomData,
    mem::align_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use transport::{
    fact::Fact,
    layout,
    memory::GenerationMemory,
    rules::RuleBook,
    sync::{GenerationWord, LookupWord},
    transform::SharedTransform,
};

use crate::error::{Error, Result};

/// What may lie in an array map that both sides write at any time.
///
/// # Safety
///
/// Every bit pattern must be a value of the type, and all of it must be atomics: this process holds
/// shared references while the programs write. The size is a multiple of 8, as the distance of a
/// map's elements is (`array_map_alloc`, kernel/bpf/arraymap.c), and of the alignment.
pub unsafe trait SharedElement: Sized + Sync {}

// SAFETY: one atomic of 8 bytes.
unsafe impl SharedElement for GenerationWord {}
// SAFETY: one atomic of 8 bytes.
unsafe impl SharedElement for LookupWord {}
// SAFETY: atomics of 8 bytes, 320 bytes aligned to 64.
unsafe impl SharedElement for Fact {}
// SAFETY: atomics of 8 bytes.
unsafe impl SharedElement for RuleBook {}
// SAFETY: atomics of 8 bytes, 256 bytes aligned to 64.
unsafe impl SharedElement for SharedTransform {}

/// The elements of an array map with `BPF_F_MMAPABLE`, mapped to be read and written.
pub struct SharedArray<T> {
    /// `len * size_of::<T>()` bytes of the map, mapped until this value is dropped.
    memory: MmapRaw,
    len: u32,
    elements: PhantomData<T>,
}

// SAFETY: the value owns its mapping, and gives out shared references only, to a `T: Sync`.
unsafe impl<T: SharedElement> Sync for SharedArray<T> {}
// SAFETY: as above; a mapping may be unmapped by any thread.
unsafe impl<T: SharedElement> Send for SharedArray<T> {}

impl<T: SharedElement> SharedArray<T> {
    /// Maps all elements of `map`. The mapping keeps the map alive.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refuses the mapping, as it does for a map without
    /// `BPF_F_MMAPABLE`.
    ///
    /// # Panics
    ///
    /// If the map's elements are not of `T`'s size.
    pub fn new(map: &MapData) -> Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 4096) };
        let refused = |error| Error::system("cannot map a map of the kernel programs", error);
        let info = map
            .info()
            .map_err(|error| refused(std::io::Error::other(error)))?;
        assert_eq!(
            info.value_size() as usize,
            size_of::<T>(),
            "elements of another type"
        );
        Self::of_file(map.fd().as_fd(), info.max_entries())
    }

    /// Maps the first `len` elements of a file, or of a map, that is as long at least. The mapping
    /// keeps it alive.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_file(file: BorrowedFd<'_>, len: u32) -> Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 4096) };
        let memory = MmapOptions::new()
            .len(len as usize * size_of::<T>())
            .map_raw(file.as_raw_fd())
            .map_err(|error| Error::system("cannot map shared memory", error))?;
        Ok(Self {
            memory,
            len,
            elements: PhantomData,
        })
    }

    /// How many elements there are.
    pub fn count(&self) -> u32 {
        self.len
    }

    /// Element `index`, or `None` beyond the last.
    pub fn get(&self, index: u32) -> Option<&T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: index < len, and `new` mapped `len` elements.
        let element = unsafe { self.memory.as_mut_ptr().cast::<T>().add(index as usize) };
        // SAFETY: in the mapping, which lives as long as `self`, and begins with a page, so that
        // every element is aligned; all else by the contract of `SharedElement`.
        Some(unsafe { &*element })
    }
}

impl<T> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedArray")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// The generation words of one mount (docs/protocol.md, 8.1), which programs and daemon move.
#[derive(Debug)]
pub struct Generations(SharedArray<GenerationWord>);

impl Generations {
    /// Maps the programs' map `GENERATIONS`.
    ///
    /// # Errors
    ///
    /// As [`SharedArray::new`].
    pub fn new(map: &MapData) -> Result<Self> {
        let words = SharedArray::new(map)?;
        debug_assert_eq!(words.count() as usize, layout::GENERATION_WORDS);
        Ok(Self(words))
    }
}

impl GenerationMemory for Generations {
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        self.0.get(index)
    }
}
