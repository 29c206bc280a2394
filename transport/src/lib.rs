//! What the kernel programs, the daemon and the models of shmfuse share.
//!
//! `no_std`, without allocation, without `unsafe`: the same source is compiled for the host, for the
//! BPF machine and for the model checker. `docs/protocol.md` is its prose; "protocol 4.3" in a comment
//! is a section there.
//!
//! ```text
//!  application        kernel: FUSE, io_uring                    daemon
//!      | request          |                                        |
//!      +----------------> | copies it into a slot, writes a CQE    |
//!                         |   program, at the completion:          |
//!                         |     answers: reply in the slot,        |
//!                         |       commit SQE, SQ tail              |
//!                         |     or dispatches: lane entry -------> | takes the slot, replies into it,
//!                         |     or leaves the CQE standing ------> |   commit SQE, SQ tail
//!      | <--------------- | takes the reply from the slot          |
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`wire`] | the FUSE protocol's structures, opcodes and flags |
//! | [`layout`] | what lies in the maps, byte by byte |
//! | [`memory`] | how to get at it: map look-ups, mapped pages or the heap; a mount's geometry |
//! | [`sync`] | the one file that names atomics: words by role, orderings by sync point |
//! | [`index`] | positions, indices, request numbers |
//! | [`tag`] | `user_data` of our SQEs |
//! | [`ownership`] | who owns a ring entry, as a word |
//! | [`slot`] | the moves between owners; the right to answer, as a type |
//! | [`sq`] | handing SQEs to the kernel |
//! | [`cq`] | whose a completion is |
//! | [`lane`] | index rings from the program to a consumer |
//! | [`park`] | sleeping without losing a wake-up |
//! | [`program`] | the program's side, whole |
//! | [`changes`] | reports of changes that others make below the mount |
//! | [`place`] | what a task is changing until its system call ends |
//! | [`consumer`] | the daemon's side, whole |
//! | [`restart`] | taking over from a consumer that has ended |
//! | [`session`] | running or closing |
//! | [`generation`] | when a cached fact stops being true |
//! | [`fact`] | cached answers that are read while they may be rewritten |
//! | [`cache`] | what facts say, and how they are found |
//! | [`answer`] | what the program answers from facts |
//! | [`renewal`] | renewing untrue attributes from the daemon's reply |
//! | [`rules`] | what is to become of requests, by rules that may be replaced meanwhile |
//! | [`lookups`] | counting the look-ups that the program answered |
//! | [`counters`] | what program and daemon count of a queue, and how to read it |
//! | [`starts`] | when the requests under way were sent |
//! | [`stats`] | what the kernel programs count, as it lies in the map |
//! | [`trace`] | the life of a request, as the tracing programs tell it |
//! | [`transform`] | attributes shown otherwise than they are below |
//! | [`error`] | full and empty apart from corrupt |
//! | [`version`] | which protocol it is |
//! | `mutant` | named weakenings of the protocol, in the models only |
//! | `testing` | a mount's memory on the heap (feature "testing") |
#![no_std]

pub mod answer;
pub mod cache;
pub mod changes;
pub mod consumer;
pub mod counters;
pub mod cq;
pub mod error;
pub mod fact;
pub mod generation;
pub mod index;
pub mod lane;
pub mod layout;
pub mod lookups;
pub mod memory;
#[cfg(shmfuse_loom)]
pub mod mutant;
pub mod ownership;
pub mod park;
pub mod place;
pub mod program;
pub mod renewal;
pub mod restart;
pub mod rules;
pub mod session;
pub mod slot;
pub mod sq;
pub mod starts;
pub mod stats;
pub mod sync;
pub mod tag;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
pub mod transform;
pub mod version;
pub mod wire;
