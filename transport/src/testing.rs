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

/// A small mount: one queue, its lanes read by one consumer.
pub fn small(engine: Engine) -> Geometry {
    Geometry {
        engine,
        queues: 1,
        depth: if MAX_DEPTH < 4 { MAX_DEPTH as u32 } else { 4 },
        consumers: 1,
        fuse_fd: 5,
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
