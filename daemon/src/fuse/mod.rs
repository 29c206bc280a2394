//! The protocol between kernel and file system, whatever carries it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`exchange`] | one request with the memory for its reply, as a transport lends it |
//! | [`filesystem`] | what a file system is to a transport |
//! | [`backing`] | backing ids: lower files the kernel reads and writes by itself |
//! | [`thread`] | what a serving thread carries: interruption |
//!
//! Unit tests drive a file system through `testing`, without a kernel.

pub mod backing;
pub mod exchange;
pub mod filesystem;
#[cfg(test)]
pub mod testing;
pub mod thread;

pub use backing::{Backing, BackingId};
pub use exchange::{Answer, Body, Exchange};
pub use filesystem::{FileSystem, Negotiated};
pub use rustix::io::Errno;
pub use thread::ServeThread;
