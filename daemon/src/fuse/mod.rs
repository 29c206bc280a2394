//! The protocol between kernel and file system, whatever carries it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`session`] | one mount being served: from INIT to the end of the connection |
//! | [`agreed`] | INIT: read, answered, and what came of it |
//! | [`negotiate`] | INIT: what kernel and daemon agree on, size by size |
//! | [`capabilities`] | what is asked of the kernel, each capability with its reason |
//! | [`device`] | `/dev/fuse`: one channel to the kernel's end of a mount |
//! | [`notify`] | what the daemon tells the kernel unasked |
//! | [`exchange`] | one request with the memory for its reply, as a transport lends it |
//! | [`owned`] | a request that outlives the memory of its transport |
//! | [`fulfil`] | from a file system's answer to the bytes of a reply |
//! | [`filesystem`] | what a file system is to a transport |
//! | [`backing`] | backing ids: lower files the kernel reads and writes by itself |
//! | [`thread`] | what a serving thread carries: interruption |
//! | [`blocking`] | threads for requests that wait for another application |
//! | [`slow`] | requests that take long, and are served beside their queue |
//! | [`lanes`] | the lane for bulk: requests that rules send there |
//! | [`ruling`] | requests that rules are about |
//! | [`interrupt`] | INTERRUPT: who is to be woken, and until when |
//! | [`pipe`] | a pipe as splice(2) needs it |
//! | [`counters`] | what happened that is not seen in replies |
//! | [`while_served`] | what is held as long as a mount is served |
//! | [`kick`] | waking a thread out of a system call |
//!
//! Unit tests drive a file system through `testing`, without a kernel.

pub mod agreed;
pub mod backing;
pub mod blocking;
pub mod capabilities;
pub mod counters;
pub mod device;
pub mod exchange;
pub mod filesystem;
pub mod fulfil;
pub mod interrupt;
pub mod kick;
pub mod lanes;
pub mod negotiate;
pub mod notify;
pub mod owned;
pub mod pipe;
pub mod ruling;
pub mod session;
pub mod slow;
#[cfg(test)]
pub mod testing;
pub mod thread;
pub mod while_served;

pub use agreed::Agreed;
pub use backing::{Backing, BackingId};
pub use device::Device;
pub use exchange::{Answer, Body, Exchange};
pub use filesystem::{FileSystem, Negotiated};
pub use fulfil::Reply;
pub use owned::OwnedExchange;
pub use rustix::io::Errno;
pub use session::Session;
pub use thread::ServeThread;
