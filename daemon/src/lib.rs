//! The shmfuse daemon: a FUSE pass-through file system over several transports.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | the checked configuration of one mount |
//! | [`error`] | errors with the thing they name and its remedy |
//! | [`fuse`] | the protocol between kernel and file system, whatever carries it |
//! | [`passthrough`] | the file system: every operation on the lower directory |
//! | [`serve`] | the transports: classic, splice, uring, shm |
//!
//! Dependencies point downwards: `passthrough` knows [`fuse`] but no transport; `serve` knows
//! [`fuse`] but not what file system it serves.

pub mod config;
pub mod error;
pub mod fuse;
pub mod passthrough;
pub mod serve;
