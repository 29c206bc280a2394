//! Threads and locks: the model checker's in the models, the real ones elsewhere.

#[cfg(shmfuse_loom)]
pub use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};
#[cfg(not(shmfuse_loom))]
pub use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// Waits for another thread without keeping the processor.
pub fn pause() {
    thread::yield_now();
}
