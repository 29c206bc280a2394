//! Handles: the numbers that name open files to the kernel.
//!
//! A handle is `generation << 32 | slot << 6 | shard`. The generation of a slot moves each time it
//! is emptied, so a handle never names what was opened after its own file was closed; a slot whose
//! generation is used up is left empty for good. 0 is never a handle.
//!
//! Looking a handle up takes its shard's lock for reading and nothing else.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicUsize, Ordering},
};

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
const SLOTS_MAX: usize = 1 << (u32::BITS - SHARD_BITS);

/// What handles name.
#[derive(Debug)]
pub struct HandleTable<T> {
    shards: Box<[RwLock<Shard<T>>]>,
    next_shard: AtomicUsize,
    len: AtomicUsize,
    max: usize,
    first_generation: u32,
}

#[derive(Debug)]
struct Shard<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<Arc<T>>,
}

impl<T> Default for HandleTable<T> {
    /// As many handles as there are numbers for.
    fn default() -> Self {
        Self::with_max(usize::MAX)
    }
}

impl<T> HandleTable<T> {
    /// At most `max` handles at a time.
    pub fn with_max(max: usize) -> Self {
        Self::of(max, 1)
    }

    /// The same, with slots that begin in `first_generation`, not 0.
    pub fn of(max: usize, first_generation: u32) -> Self {
        let shard = || {
            RwLock::new(Shard {
                slots: Vec::new(),
                free: Vec::new(),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            next_shard: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            max,
            first_generation,
        }
    }

    /// Gives `value` a handle. `None` if there are as many as there may be.
    pub fn insert(&self, value: Arc<T>) -> Option<u64> {
        if self.len.fetch_add(1, Ordering::Relaxed) < self.max
            && let Some(handle) = self.place(value)
        {
            return Some(handle);
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn place(&self, value: Arc<T>) -> Option<u64> {
        let shard_index = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = write(&self.shards[shard_index]);
        let index = match shard.free.pop() {
            Some(index) => index,
            None if shard.slots.len() == SLOTS_MAX => return None,
            None => {
                shard.slots.push(Slot {
                    generation: self.first_generation,
                    value: None,
                });
                (shard.slots.len() - 1) as u32
            }
        };
        let slot = &mut shard.slots[index as usize];
        slot.value = Some(value);
        let low = index << SHARD_BITS | shard_index as u32;
        Some(u64::from(slot.generation) << 32 | u64::from(low))
    }

    /// Makes `handle`, which a predecessor handed out, name `value`. Returns false if it cannot: it
    /// names something already, or no predecessor can have handed it out.
    pub fn restore(&self, handle: u64, value: Arc<T>) -> bool {
        let (shard, index, generation) = parts(handle);
        if index >= SLOTS_MAX || generation == 0 {
            return false;
        }
        let mut shard = write(&self.shards[shard]);
        while shard.slots.len() <= index {
            let free = shard.slots.len() as u32;
            shard.free.push(free);
            shard.slots.push(Slot {
                generation: self.first_generation,
                value: None,
            });
        }
        let slot = &mut shard.slots[index];
        if slot.value.is_some() {
            return false;
        }
        *slot = Slot {
            generation,
            value: Some(value),
        };
        shard.free.retain(|&free| free as usize != index);
        self.len.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// What `handle` names; `None` if it names nothing (any more).
    pub fn get(&self, handle: u64) -> Option<Arc<T>> {
        let (shard, index, generation) = parts(handle);
        let shard = read(&self.shards[shard]);
        let slot = shard.slots.get(index)?;
        (slot.generation == generation)
            .then(|| slot.value.clone())
            .flatten()
    }

    /// Ends `handle` and returns what it named.
    pub fn remove(&self, handle: u64) -> Option<Arc<T>> {
        let (shard, index, generation) = parts(handle);
        let mut shard = write(&self.shards[shard]);
        let slot = shard.slots.get_mut(index)?;
        if slot.generation != generation {
            return None;
        }
        let value = slot.value.take()?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next.max(self.first_generation);
            shard.free.push(index as u32);
        }
        Some(value)
    }

    /// How many handles name something.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether some handle names a value of which `holds` is true. Looks at every handle.
    pub fn any(&self, holds: impl Fn(&T) -> bool) -> bool {
        self.shards.iter().any(|shard| {
            let shard = read(shard);
            let mut values = shard.slots.iter().filter_map(|slot| slot.value.as_deref());
            values.any(&holds)
        })
    }

    /// Whether no handle names anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends every handle.
    pub fn clear(&self) {
        for (shard_index, shard) in self.shards.iter().enumerate() {
            let open: Vec<u64> = read(shard)
                .slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.value.is_some())
                .map(|(index, slot)| {
                    let low = (index as u32) << SHARD_BITS | shard_index as u32;
                    u64::from(slot.generation) << 32 | u64::from(low)
                })
                .collect();
            for handle in open {
                self.remove(handle);
            }
        }
    }
}

/// Shard, slot and generation that `handle` speaks of.
fn parts(handle: u64) -> (usize, usize, u32) {
    let low = handle as u32;
    (
        low as usize % SHARDS,
        (low >> SHARD_BITS) as usize,
        (handle >> 32) as u32,
    )
}

/// A poisoned shard is whole: no code that can panic runs while it is locked.
fn read<T>(shard: &RwLock<Shard<T>>) -> RwLockReadGuard<'_, Shard<T>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(shard: &RwLock<Shard<T>>) -> RwLockWriteGuard<'_, Shard<T>> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_what_it_was_given_for() {
        let table = HandleTable::default();
        let handles: Vec<u64> = (0..1000)
            .map(|value| table.insert(Arc::new(value)).unwrap())
            .collect();
        for (value, &handle) in handles.iter().enumerate() {
            assert_eq!(*table.get(handle).unwrap(), value);
            assert_ne!(handle, 0);
        }
        assert_eq!(table.len(), 1000);
    }

    #[test]
    fn an_ended_handle_names_nothing_though_its_slot_is_used_again() {
        let table = HandleTable::default();
        let ended = table.insert(Arc::new(1)).unwrap();
        assert_eq!(table.remove(ended).as_deref(), Some(&1));
        let fresh: Vec<u64> = (0..SHARDS)
            .map(|_| table.insert(Arc::new(2)).unwrap())
            .collect();
        assert!(fresh.iter().any(|handle| *handle as u32 == ended as u32));
        assert_eq!(table.get(ended), None);
        assert_eq!(table.remove(ended), None);
        assert_eq!(table.len(), SHARDS);
    }

    #[test]
    fn numbers_that_were_never_handed_out_name_nothing() {
        let table = HandleTable::<()>::default();
        for handle in [0, 1, u64::MAX, 1 << 32, u64::MAX << 32] {
            assert!(table.get(handle).is_none());
            assert!(table.remove(handle).is_none());
        }
    }

    #[test]
    fn a_slot_out_of_generations_is_left_empty() {
        let table = HandleTable::default();
        let first = table.insert(Arc::new(1)).unwrap();
        let (shard, index, _) = parts(first);
        write(&table.shards[shard]).slots[index].generation = u32::MAX;
        let last = u64::from(u32::MAX) << 32 | u64::from(first as u32);
        assert_eq!(table.remove(last).as_deref(), Some(&1));
        assert!(write(&table.shards[shard]).free.is_empty());
        assert!(table.get(last).is_none());
    }

    #[test]
    fn there_are_no_more_handles_than_there_may_be() {
        let table = HandleTable::with_max(2);
        let first = table.insert(Arc::new(1)).unwrap();
        assert!(table.insert(Arc::new(2)).is_some());
        assert!(table.insert(Arc::new(3)).is_none());
        table.remove(first);
        assert!(table.insert(Arc::new(3)).is_some());
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn clearing_ends_every_handle() {
        let table = HandleTable::default();
        let handles: Vec<u64> = (0..100)
            .map(|value| table.insert(Arc::new(value)).unwrap())
            .collect();
        table.clear();
        assert!(table.is_empty());
        assert!(handles.iter().all(|&handle| table.get(handle).is_none()));
    }
}
