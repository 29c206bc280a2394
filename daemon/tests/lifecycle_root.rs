//! How mounts begin and end, and what they must survive: sudden death, signals, cycles.

#[macro_use]
mod common;

#[path = "lifecycle_root/cycles.rs"]
mod cycles;
#[path = "lifecycle_root/ends.rs"]
mod ends;
#[path = "lifecycle_root/nesting.rs"]
mod nesting;
