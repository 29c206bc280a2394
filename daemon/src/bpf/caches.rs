//! The caches that the programs answer from, as this process has them.

use super::{
    SharedMemory,
    words::{Generations, SharedArray},
};
use crate::{answers::AnswerMemory, error::Result};
use aya::maps::MapData;
use std::sync::Arc;
use transport::{
    cache::{CacheMemory, WAYS},
    fact::Fact,
    layout::CacheCounters,
    memory::{GenerationMemory, Memory},
    sync::{GenerationWord, LookupWord},
    transform::SharedTransform,
};

/// How large the caches of a mount are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheSizes {
    /// Sets of facts: a power of two, or 0.
    pub sets: u32,
    /// Sets of names that are refused: a power of two, or 0.
    pub denied_sets: u32,
    /// Whether a program renews untrue attributes from the daemon's replies.
    pub renews: bool,
}

impl CacheSizes {
    /// For so many facts at least, and `denied` names that are refused.
    pub fn new(facts: u32, denied: usize) -> Self {
        let sets = |count: u32| match count {
            0 => 0,
            _ => count.div_ceil(WAYS).next_power_of_two(),
        };
        // Few names in many places: a set never runs full.
        let denied = u32::try_from(denied).unwrap_or(u32::MAX / 64);
        Self {
            sets: sets(facts),
            denied_sets: sets(denied.saturating_mul(WAYS)),
            renews: false,
        }
    }

    /// Facts that there is room for.
    pub const fn facts(&self) -> u32 {
        self.sets * WAYS
    }

    /// Elements of each map, by its name in the eBPF object.
    pub(crate) fn elements(&self) -> [(&'static str, u32); 3] {
        [
            ("FACTS", self.facts().max(1)),
            ("DENIED", (self.denied_sets * WAYS).max(1)),
            // An inode has several facts, and one word.
            ("LOOKUPS", (self.facts() / 2).max(1)),
        ]
    }

    /// Bytes of memory that cannot be swapped.
    pub fn bytes(&self) -> usize {
        let [(_, facts), (_, denied), (_, lookups)] = self.elements();
        (facts + denied) as usize * size_of::<Fact>() + lookups as usize * size_of::<LookupWord>()
    }
}

/// The maps of the caches.
#[derive(Debug)]
pub struct CacheMaps {
    sizes: CacheSizes,
    generations: Arc<Generations>,
    facts: SharedArray<Fact>,
    denied: SharedArray<Fact>,
    lookups: SharedArray<LookupWord>,
    transforms: SharedArray<SharedTransform>,
    shared: Arc<SharedMemory>,
}

impl CacheMaps {
    /// Maps the maps, which are given by their names in the eBPF object.
    ///
    /// # Errors
    ///
    /// As [`SharedArray::new`].
    pub(super) fn new<'m>(
        sizes: CacheSizes,
        generations: Arc<Generations>,
        shared: Arc<SharedMemory>,
        map: impl Fn(&str) -> &'m MapData,
    ) -> Result<Self> {
        Ok(Self {
            sizes,
            generations,
            facts: SharedArray::new(map("FACTS"))?,
            denied: SharedArray::new(map("DENIED"))?,
            lookups: SharedArray::new(map("LOOKUPS"))?,
            transforms: SharedArray::new(map("TRANSFORMS"))?,
            shared,
        })
    }
}

impl GenerationMemory for CacheMaps {
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        self.generations.generation(index)
    }
}

impl CacheMemory for CacheMaps {
    fn sets(&self) -> u32 {
        self.sizes.sets
    }

    fn fact(&self, index: u32) -> Option<&Fact> {
        self.facts.get(index)
    }

    fn lookup_word(&self, index: u32) -> Option<&LookupWord> {
        self.lookups.get(index)
    }

    fn renews(&self) -> bool {
        self.sizes.renews
    }

    fn transform(&self, number: u32) -> Option<&SharedTransform> {
        self.transforms.get(number)
    }

    fn denied_sets(&self) -> u32 {
        self.sizes.denied_sets
    }

    fn denied(&self, index: u32) -> Option<&Fact> {
        self.denied.get(index)
    }
}

impl AnswerMemory for CacheMaps {
    fn lookup_words(&self) -> u32 {
        self.lookups.count()
    }

    fn counters(&self) -> Option<&CacheCounters> {
        self.shared.control().map(|control| &control.cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_was_asked_for_at_least() {
        for facts in [1, 7, 8, 9, 1000, 65536, 100_000] {
            let sizes = CacheSizes::new(facts, 3);
            assert!(sizes.facts() >= facts && sizes.sets.is_power_of_two());
            assert!(sizes.denied_sets >= 3);
        }
        assert_eq!(CacheSizes::new(0, 0), CacheSizes::default());
    }
}
