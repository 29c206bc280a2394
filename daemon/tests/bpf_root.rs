//! The kernel programs in the running kernel: what they count is what happens.

#[macro_use]
mod common;

#[path = "bpf_root/daemon.rs"]
mod daemon;
#[path = "bpf_root/programs.rs"]
mod programs;
#[path = "bpf_root/server.rs"]
mod server;
