//! The caches as maps: facts, names that are refused, and where answered look-ups are counted
//! (docs/protocol.md, 8).
//!
//! The daemon sets the sizes before it loads the programs, maps the same memory, and fills it
//! (`daemon/src/answers/`).
#![expect(unsafe_code, reason = "constants that user space sets before the load")]

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use transport::{
    cache::CacheMemory,
    fact::Fact,
    memory::GenerationMemory,
    sync::{GenerationWord, LookupWord},
    transform::{SharedTransform, TRANSFORMS as COUNT},
};

use crate::{generations::word, shm::Constant};

#[map]
static FACTS: Array<Fact> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static DENIED: Array<Fact> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static LOOKUPS: Array<LookupWord> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static TRANSFORMS: Array<SharedTransform> = Array::with_max_entries(COUNT, BPF_F_MMAPABLE);

/// Sets in `FACTS`; 0: nothing is answered.
#[unsafe(no_mangle)]
static CACHE_SETS: Constant<u32> = Constant(0);
/// Sets in `DENIED`; 0: nothing is refused.
#[unsafe(no_mangle)]
static CACHE_DENIED_SETS: Constant<u32> = Constant(0);

/// Whether untrue attributes are renewed from the daemon's reply: 1, else 0.
#[unsafe(no_mangle)]
static CACHE_RENEWS: Constant<u32> = Constant(0);

/// Whether there is anything to be looked for.
#[inline(always)]
pub fn are_on() -> bool {
    CACHE_SETS.get() != 0 || CACHE_DENIED_SETS.get() != 0
}

/// The caches of this mount.
pub struct Caches;

impl GenerationMemory for Caches {
    #[inline(always)]
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        word(index)
    }
}

impl CacheMemory for Caches {
    #[inline(always)]
    fn sets(&self) -> u32 {
        CACHE_SETS.get()
    }

    #[inline(always)]
    fn fact(&self, index: u32) -> Option<&Fact> {
        FACTS.get(index)
    }

    #[inline(always)]
    fn lookup_word(&self, index: u32) -> Option<&LookupWord> {
        LOOKUPS.get(index)
    }

    #[inline(always)]
    fn renews(&self) -> bool {
        CACHE_RENEWS.get() != 0
    }

    #[inline(always)]
    fn transform(&self, number: u32) -> Option<&SharedTransform> {
        TRANSFORMS.get(number)
    }

    #[inline(always)]
    fn denied_sets(&self) -> u32 {
        CACHE_DENIED_SETS.get()
    }

    #[inline(always)]
    fn denied(&self, index: u32) -> Option<&Fact> {
        DENIED.get(index)
    }
}
