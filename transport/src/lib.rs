//! What the kernel programs, the daemon and the models of shmfuse share.
//!
//! `no_std`, without allocation: the same source is compiled for the host, for the BPF machine
//! and for the model checker.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`wire`] | the FUSE protocol's structures, opcodes and flags |
#![no_std]

pub mod wire;
