//! The memory of a mount on the heap, for tests, models and fuzzing (feature "testing").

extern crate std;

use crate::{
    cq::Engine,
    layout::{Blank, Control, LANES_PER_QUEUE, Lane, MAX_DEPTH, Park, QueueCounters, Ring, Slot},
    memory::{Geometry, Memory},
};
use std::{boxed::Box, vec::Vec};

/// One mount's memory.
#[derive(Debug)]
pub struct Heap {
    control: Control,
    slots: Vec<Slot>,
    rings: Vec<Box<Ring>>,
    lanes: Vec<Lane>,
    parks: Vec<Park>,
    counters: Vec<QueueCounters>,
}

impl Heap {
    /// Memory as fresh maps have it: all zero.
    pub fn new(geometry: &Geometry) -> Self {
        let many = |n: u32| 0..n;
        Self {
            control: Control::default(),
            slots: many(geometry.queues * geometry.depth)
                .map(|_| Slot::blank())
                .collect(),
            rings: many(geometry.queues * geometry.rings_per_queue())
                .map(|_| Box::new(Ring::blank()))
                .collect(),
            lanes: many(geometry.queues * LANES_PER_QUEUE as u32)
                .map(|_| Lane::blank())
                .collect(),
            parks: many(geometry.consumers).map(|_| Park::default()).collect(),
            counters: many(geometry.queues)
                .map(|_| QueueCounters::default())
                .collect(),
        }
    }
}

impl Heap {
    /// Writes any value into every word that the other side, or a third, may write: `any` is asked
    /// for each.
    pub fn scribble(&self, mut any: impl FnMut() -> u64) {
        self.control.session.scribble(any() as u32);
        for slot in &self.slots {
            for word in slot.header.in_out().iter().chain(slot.header.op_in()) {
                word.set(any());
            }
            slot.header.unique().set(any());
            slot.header.commit_id().set(any());
            slot.header.payload_len().set(any());
            slot.word.scribble(any());
            slot.commit_position.set(any() as u32);
            slot.commit_pending.set(any() as u32);
        }
        for ring in &self.rings {
            ring.words.sq_head.scribble(any() as u32);
            ring.words.sq_tail.scribble(any() as u32);
            ring.words.cq_head.scribble(any() as u32);
            ring.words.cq_tail.scribble(any() as u32);
            ring.words.sq_flags.scribble(any() as u32);
            for cqe in &ring.cqes {
                cqe.user_data.set(any());
                cqe.res.set(any() as u32);
                cqe.flags.set(any() as u32);
            }
        }
        for lane in &self.lanes {
            lane.tail.0.scribble(any() as u32);
            lane.head.0.scribble(any() as u32);
            for entry in &lane.entries {
                entry.unique.set(any());
                entry.what.set(any());
            }
        }
        for park in &self.parks {
            park.0.scribble(any() as u32);
        }
    }
}

/// A small mount: one queue, its lanes read by one consumer.
pub fn small(engine: Engine) -> Geometry {
    Geometry {
        engine,
        queues: 1,
        depth: if MAX_DEPTH < 4 { MAX_DEPTH as u32 } else { 4 },
        consumers: 1,
        cookie: 0x1234,
        parks_address: 0x1000,
    }
}

impl Memory for Heap {
    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }
    fn slot(&self, element: u32) -> Option<&Slot> {
        self.slots.get(element as usize)
    }
    fn ring(&self, element: u32) -> Option<&Ring> {
        self.rings.get(element as usize).map(|ring| &**ring)
    }
    fn lane(&self, element: u32) -> Option<&Lane> {
        self.lanes.get(element as usize)
    }
    fn park(&self, consumer: u32) -> Option<&Park> {
        self.parks.get(consumer as usize)
    }
    fn counters(&self, queue: u32) -> Option<&QueueCounters> {
        self.counters.get(queue as usize)
    }
}
