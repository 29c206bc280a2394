//! Whether the shared-memory protocol of `docs/protocol.md` is right, asked of the very types that run
//! (`transport`), not of copies.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `models` | the questions: one file a part of the protocol (`cfg(shmfuse_loom)`) |
//! | `kernel` | FUSE and io_uring as far as the protocol depends on them (`cfg(shmfuse_loom)`) |
//! | `daemon` | a consumer as far as the models need one (`cfg(shmfuse_loom)`) |
//! | `registry` | every model with its bound, every mutant with the model that must fail |
//! | [`reference`](mod@reference) | the same things in plain Rust, to compare with |
//! | [`strategies`] | operations and bytes for property tests and fuzzing |
//!
//! The models are run by `cargo xtask verify`, which builds this crate with `--cfg shmfuse_loom`.
#![cfg_attr(shmfuse_loom, recursion_limit = "256")]

#[cfg(shmfuse_loom)]
pub mod daemon;
#[cfg(shmfuse_loom)]
pub mod kernel;
#[cfg(shmfuse_loom)]
pub mod models;
pub mod reference;
#[cfg(shmfuse_loom)]
pub mod registry;
pub mod strategies;
