//! The shared memory of a daemon, to be written to from outside: by the maps' numbers.
#![expect(unsafe_code, reason = "maps are seen as the protocol's types")]

use crate::common::Holdings;
use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd},
};
use transport::{
    index::Position,
    layout::{Control, Lane, Park, Ring, Slot},
};

/// The elements of one map.
pub struct Elements<T> {
    memory: MmapRaw,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Elements<T> {
    fn open(holdings: &Holdings, name: &str) -> Self {
        let id = holdings.maps[name];
        let map = MapData::from_id(id).expect("root may open a map");
        let info = map.info().expect("its description");
        assert_eq!(info.value_size() as usize, size_of::<T>(), "{name}");
        let len = info.max_entries() as usize;
        let memory = MmapOptions::new()
            .len(len * size_of::<T>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .expect("a mappable array");
        let of = PhantomData;
        Self { memory, len, of }
    }

    /// One of them; indices beyond the last begin anew.
    pub fn get(&self, index: u64) -> &T {
        let index = (index % self.len as u64) as usize;
        // SAFETY: inside the mapping, which has `len` elements of this size (`open`); the protocol's
        // types are made of atomics, so any bytes are a value and others may write meanwhile.
        unsafe { &*self.memory.as_ptr().cast::<T>().add(index) }
    }
}

/// The maps of one mount.
pub struct Maps {
    /// One element.
    pub control: Elements<Control>,
    /// By queue and depth.
    pub slots: Elements<Slot>,
    /// By queue.
    pub rings: Elements<Ring>,
    /// By queue.
    pub lanes: Elements<Lane>,
    /// By consumer.
    pub parks: Elements<Park>,
}

impl Maps {
    /// The maps of the daemon that holds these.
    pub fn open(holdings: &Holdings) -> Self {
        Self {
            control: Elements::open(holdings, "CONTROL"),
            slots: Elements::open(holdings, "SLOTS"),
            rings: Elements::open(holdings, "RINGS"),
            lanes: Elements::open(holdings, "LANES"),
            parks: Elements::open(holdings, "PARKS"),
        }
    }
}

/// So far ahead, around the end; or behind.
pub fn moved(position: Position, by: i32) -> u32 {
    position.0.wrapping_add_signed(by)
}
