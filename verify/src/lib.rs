//! Whether the shared-memory protocol of `docs/protocol.md` is right, asked of the very types that run
//! (`transport`), not of copies. `docs/testing.md` says which layer answers which question.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `models` | the questions, for every interleaving: one file a part of the protocol (loom) |
//! | `registry` | every model with its bound, every mutant with the model that must fail (loom) |
//! | [`properties`] | the same parts against a plain reference, for random operations |
//! | [`hostile`] | both sides over memory in which anything may stand |
//! | [`reference`](mod@reference) | lane, rings and cache in plain Rust, to compare with |
//! | [`input`] | operations from bytes, so that property tests and fuzzers share them |
//! | [`kernel`] | FUSE and io_uring as far as the protocol depends on them |
//! | [`daemon`] | a consumer as far as models and properties need one |
//! | [`engine`] | the kernel engine, whole: poll thread, program, and a consumer that parks |
//! | [`rt`] | threads and locks: loom's or the real ones |
//!
//! The models are run by `cargo xtask verify`, which builds this crate with `--cfg shmfuse_loom`; the
//! properties by `cargo test`; both properties and hostile memory by the fuzzers in `fuzz/`.

pub mod daemon;
pub mod engine;
#[cfg(not(shmfuse_loom))]
pub mod hostile;
pub mod input;
pub mod kernel;
#[cfg(shmfuse_loom)]
pub mod models;
#[cfg(not(shmfuse_loom))]
pub mod properties;
pub mod reference;
#[cfg(shmfuse_loom)]
pub mod registry;
pub mod rt;
