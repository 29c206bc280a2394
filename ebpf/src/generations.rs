//! The generation words: when a cached fact stops being true (docs/protocol.md, 8.1 and 8.2).
//!
//! A map of its own, which mounts have on every transport: changes below the mount have to be noticed
//! wherever something is cached, in maps or in the kernel's own caches.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use transport::{layout, memory::GenerationMemory, sync::GenerationWord};

/// Mapped by the daemon too (`daemon/src/bpf/words.rs`).
#[map]
static GENERATIONS: Array<GenerationWord> =
    Array::with_max_entries(layout::GENERATION_WORDS as u32, BPF_F_MMAPABLE);

/// A word.
#[inline(always)]
pub fn word(index: u32) -> Option<&'static GenerationWord> {
    GENERATIONS.get(index)
}

/// The generation words of this mount.
pub struct Generations;

impl GenerationMemory for Generations {
    #[inline(always)]
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        word(index)
    }
}
