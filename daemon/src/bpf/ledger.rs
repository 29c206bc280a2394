//! Which requests the daemon has taken and answered, by its own account.
//!
//! The slot words say so too, but others can write to them. This is memory of the daemon alone.

use std::sync::atomic::{AtomicU64, Ordering};

/// One slot.
#[derive(Debug, Default)]
struct Entry {
    /// The unique of the request that the daemon has; 0 if none.
    held: AtomicU64,
    /// The unique of the last one it answered; 0 if none.
    answered: AtomicU64,
}

/// An account of all slots. Each is written by the thread of its queue and read by anybody.
#[derive(Debug)]
pub struct Ledger(Box<[Entry]>);

/// What the daemon knows of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// It has the request, or another one of the same slot.
    Held,
    /// It has answered this one, and has none of the slot.
    Answered,
    /// Nothing.
    Not,
}

impl Ledger {
    /// Of so many slots, none of which had a request.
    pub fn new(slots: u32) -> Self {
        Self((0..slots).map(|_| Entry::default()).collect())
    }

    /// The daemon has taken the request `unique` from a slot; `element` counts over all queues. False
    /// if it has answered that request before: then it is not one.
    #[must_use = "no request comes twice"]
    pub fn take(&self, element: u32, unique: u64) -> bool {
        let Some(entry) = self.0.get(element as usize) else {
            return false;
        };
        entry.held.store(unique, Ordering::Release);
        entry.answered.load(Ordering::Relaxed) != unique
    }

    /// The daemon is about to commit what it took from a slot.
    pub fn answer(&self, element: u32) {
        if let Some(entry) = self.0.get(element as usize) {
            let unique = entry.held.load(Ordering::Relaxed);
            entry.answered.store(unique, Ordering::Release);
            entry.held.store(0, Ordering::Release);
        }
    }

    /// How many requests the daemon has.
    pub fn held(&self) -> usize {
        let held = |entry: &&Entry| entry.held.load(Ordering::Acquire) != 0;
        self.0.iter().filter(held).count()
    }

    /// What the daemon knows of the request `unique` in a slot.
    pub fn knows(&self, element: u32, unique: u64) -> Known {
        let Some(entry) = self.0.get(element as usize) else {
            return Known::Not;
        };
        // In this order: what is answered between the two looks is known all the same.
        if entry.held.load(Ordering::Acquire) != 0 {
            return Known::Held;
        }
        if entry.answered.load(Ordering::Acquire) == unique {
            return Known::Answered;
        }
        Known::Not
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_from_its_take_to_its_answer() {
        let ledger = Ledger::new(2);
        assert_eq!(ledger.knows(1, 6), Known::Not);
        assert_eq!(ledger.held(), 0);
        assert!(ledger.take(1, 6));
        assert_eq!(ledger.held(), 1);
        assert_eq!(ledger.knows(1, 6), Known::Held);
        ledger.answer(1);
        assert_eq!(ledger.held(), 0);
        assert_eq!(ledger.knows(1, 6), Known::Answered);
        assert_eq!(ledger.knows(1, 8), Known::Not);
        assert_eq!(ledger.knows(0, 6), Known::Not);
    }

    #[test]
    fn a_request_that_was_answered_does_not_come_again() {
        let ledger = Ledger::new(1);
        assert!(ledger.take(0, 6));
        ledger.answer(0);
        assert!(!ledger.take(0, 6));
        assert!(ledger.take(0, 8));
    }

    #[test]
    fn a_slot_that_is_not_there_is_not_known() {
        let ledger = Ledger::new(1);
        assert!(!ledger.take(1, 6));
        ledger.answer(9);
        assert_eq!(ledger.knows(1, 6), Known::Not);
    }
}
