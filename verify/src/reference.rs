//! Lane, rings and cache in plain Rust: what the shared-memory ones must be indistinguishable from to one
//! thread.

use std::collections::VecDeque;

/// A queue of at most so many elements.
#[derive(Clone, Debug)]
pub struct Bounded<T> {
    elements: VecDeque<T>,
    capacity: usize,
}

impl<T> Bounded<T> {
    /// An empty queue.
    pub const fn new(capacity: usize) -> Self {
        Self {
            elements: VecDeque::new(),
            capacity,
        }
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.elements.len() == self.capacity
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// How much there is.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Adds to the end. To be called if there is room.
    pub fn push(&mut self, element: T) {
        assert!(!self.is_full(), "the reference is full");
        self.elements.push_back(element);
    }

    /// The oldest.
    pub fn front(&self) -> Option<&T> {
        self.elements.front()
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        self.elements.pop_front()
    }
}

/// Which answers about one inode would be right: what it is, and whether it is changing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Truth {
    /// The attribute.
    pub value: u64,
    /// Changes that have begun and not ended.
    pub changes: u32,
}

impl Truth {
    /// Whether a cached answer would be right now. While a change is under way no cached answer is
    /// given at all (protocol 8.2).
    pub const fn allows(&self, answer: u64) -> bool {
        self.changes == 0 && answer == self.value
    }
}
