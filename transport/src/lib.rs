//! What the kernel programs, the daemon and the models of shmfuse share.
//!
//! `no_std`, without allocation: the same source is compiled for the host, for the BPF machine
//! and for the model checker.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`stats`] | what the kernel programs count, as it lies in the map |
//! | [`wire`] | the FUSE protocol's structures, opcodes and flags |
#![no_std]

pub mod stats;
pub mod wire;
