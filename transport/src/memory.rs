//! The memory that the protocol runs in.

use crate::{
    layout::{Control, Lane, Park, QueueCounters, Ring, Slot},
    sync::GenerationWord,
};

/// The maps of one mount, as elements. Implemented over map look-ups in the programs, over mapped
/// pages in the daemon, over the heap in tests (`testing::Heap`) and models. What is above it is safe
/// code, the same everywhere.
///
/// An element that is not there is `None`, never a panic: indices come from shared memory.
pub trait Memory {
    /// The control page.
    fn control(&self) -> Option<&Control>;
    /// A slot; see [`SlotIndex::element`](crate::index::SlotIndex::element).
    fn slot(&self, element: u32) -> Option<&Slot>;
    /// A ring; see [`RingIndex::element`](crate::index::RingIndex::element).
    fn ring(&self, element: u32) -> Option<&Ring>;
    /// A lane; see [`LaneIndex::element`](crate::index::LaneIndex::element).
    fn lane(&self, element: u32) -> Option<&Lane>;
    /// Where a consumer sleeps.
    fn park(&self, consumer: u32) -> Option<&Park>;
    /// What is counted about a queue.
    fn counters(&self, queue: u32) -> Option<&QueueCounters>;
}

/// The generation words of a mount, as elements.
pub trait GenerationMemory {
    /// The word with this index.
    fn generation(&self, index: u32) -> Option<&GenerationWord>;
}

impl<const N: usize> GenerationMemory for [GenerationWord; N] {
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        self.get(index as usize)
    }
}

/// What both sides know of a mount and nobody may change: in the programs read-only globals, never
/// words of the maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Which engine.
    pub engine: crate::cq::Engine,
    /// Queues.
    pub queues: u32,
    /// Slots per queue. Range: 1 ..= [`MAX_DEPTH`](crate::layout::MAX_DEPTH).
    pub depth: u32,
    /// Consumers; the lanes of queue `n` belong to consumer `n % consumers`.
    pub consumers: u32,
    /// The mount's cookie in every tag.
    pub cookie: u16,
    /// The address of the first parking word in the daemon.
    pub parks_address: u64,
}

impl Geometry {
    /// Rings per queue.
    #[inline(always)]
    pub const fn rings_per_queue(&self) -> u32 {
        match self.engine {
            crate::cq::Engine::Worker => 1,
            crate::cq::Engine::Kernel => 2,
        }
    }

    /// The consumer of a lane.
    #[inline(always)]
    pub const fn consumer_of(&self, lane_element: u32) -> u32 {
        let queue = lane_element / crate::layout::LANES_PER_QUEUE as u32;
        match queue.checked_rem(self.consumers) {
            Some(consumer) => consumer,
            None => 0,
        }
    }

    /// The address in the daemon of a consumer's parking word.
    #[inline(always)]
    pub const fn park_address(&self, consumer: u32) -> u64 {
        self.parks_address
            .wrapping_add(consumer as u64 * size_of::<crate::layout::Park>() as u64)
    }
}
