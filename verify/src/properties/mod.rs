//! The parts of the protocol against a plain reference, for random operations.
//!
//! Each function takes bytes, reads them as operations, and panics if the shipped type and the
//! reference disagree. `tests/properties.rs` feeds them by proptest, `fuzz/` by libFuzzer.

mod cache;
mod lane;
mod queue;
mod ring;
mod transform;
mod wire;

pub use self::{
    cache::cache,
    lane::lane,
    queue::queue,
    ring::{completions, submissions},
    transform::transform,
    wire::wire,
};
