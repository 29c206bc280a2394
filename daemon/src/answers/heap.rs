//! The caches without a kernel, for tests.

use super::AnswerMemory;
use crate::bpf::CacheSizes;
use transport::{
    cache::CacheMemory,
    fact::Fact,
    layout::{Blank, CacheCounters, GENERATION_WORDS},
    memory::GenerationMemory,
    sync::{GenerationWord, LookupWord},
    transform::{SharedTransform, TRANSFORMS},
};

/// As fresh maps are.
#[derive(Debug)]
pub struct HeapCaches {
    sizes: CacheSizes,
    generations: Vec<GenerationWord>,
    facts: Vec<Fact>,
    denied: Vec<Fact>,
    lookups: Vec<LookupWord>,
    transforms: Vec<SharedTransform>,
    counters: CacheCounters,
}

impl HeapCaches {
    /// For so many facts, with `lookups` words.
    pub fn new(sizes: CacheSizes, lookups: u32) -> Self {
        let [(_, facts), (_, denied), _] = sizes.elements();
        Self {
            sizes,
            generations: (0..GENERATION_WORDS)
                .map(|_| GenerationWord::new(0))
                .collect(),
            facts: (0..facts).map(|_| Fact::blank()).collect(),
            denied: (0..denied).map(|_| Fact::blank()).collect(),
            lookups: (0..lookups).map(|_| LookupWord::new(0)).collect(),
            transforms: (0..TRANSFORMS).map(|_| SharedTransform::blank()).collect(),
            counters: CacheCounters::default(),
        }
    }
}

impl GenerationMemory for HeapCaches {
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        self.generations.get(index as usize)
    }
}

impl CacheMemory for HeapCaches {
    fn sets(&self) -> u32 {
        self.sizes.sets
    }
    fn fact(&self, index: u32) -> Option<&Fact> {
        self.facts.get(index as usize)
    }
    fn lookup_word(&self, index: u32) -> Option<&LookupWord> {
        self.lookups.get(index as usize)
    }
    fn transform(&self, number: u32) -> Option<&SharedTransform> {
        self.transforms.get(number as usize)
    }
    fn denied_sets(&self) -> u32 {
        self.sizes.denied_sets
    }
    fn denied(&self, index: u32) -> Option<&Fact> {
        self.denied.get(index as usize)
    }
}

impl AnswerMemory for HeapCaches {
    fn lookup_words(&self) -> u32 {
        self.lookups.len() as u32
    }
    fn counters(&self) -> Option<&CacheCounters> {
        Some(&self.counters)
    }
}
