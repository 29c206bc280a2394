//! The uring transport: FUSE-over-io_uring, entries in private memory.
//!
//! A queue, a ring and a pinned thread for each CPU the machine can have: a request is served on
//! the CPU that made it, and its commit and the wait for the next are one system call. FORGET and
//! INTERRUPT do not come over a ring: one more thread reads them from `/dev/fuse`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`entry`] | the life of a ring entry as types |
//! | [`memory`] | the memory entries lie in |
//! | [`ring`] | the ring a queue's commands travel through |
//! | [`exchange`] | a request in the entry it arrived in |
//! | [`merge`] | which requests are read or written together |
//! | [`joint`] | executing them |
//! | [`nudge`] | making the kernel look at a queue's pending requests once more |
//! | [`bell`] | what wakes the thread that waits in a ring |
//! | [`mailbox`] | what other threads tell a worker |
//! | [`worker`] | the thread that serves one queue |
//! | [`pace`] | answering without moving the application to another CPU |
//! | [`probe`] | whether kernel and user can have it |

pub mod anchor;
pub mod bell;
pub mod entry;
pub mod exchange;
pub mod joint;
pub mod mailbox;
pub mod memory;
pub mod merge;
pub mod nudge;
pub mod pace;
pub mod probe;
pub mod ring;
pub mod worker;

use super::{ServerThread, device_reader, spawn};
use crate::{error::Result, fuse::Session};
use entry::QueueId;
use memory::{Chunk, EntryMemory, Pages};
use ring::PrivateRing;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{os::fd::AsFd, sync::Arc};
use worker::Worker;

/// Starts a worker for each queue, and the reader of `/dev/fuse`.
///
/// # Errors
///
/// A thread could not be started, an io_uring not be had, or the kernel refused an entry. Requests
/// are then served by nobody: the mount is to be taken down.
pub fn start(session: &Arc<Session>) -> Result<Vec<ServerThread>> {
    let queues = probe::possible_cpus()?;
    let mut threads = Vec::with_capacity(usize::from(queues) + 1);
    // The reader first: with the last queue's first entry the kernel begins to send requests.
    let device = session.device().clone();
    threads.push(spawn(
        session,
        "shmfuse-dev".into(),
        |_| Ok(()),
        move |session, thread, ()| device_reader(session, &device, thread),
    )?);
    for queue in 0..queues {
        threads.push(start_queue(session, QueueId(queue))?);
    }
    Ok(threads)
}

fn start_queue(session: &Arc<Session>, queue: QueueId) -> Result<ServerThread> {
    let device = session.device().clone();
    let depth = session.config().queue_depth;
    let payload_len = session.negotiated().max_payload();
    let prepare = move || {
        pin(queue);
        let memory = EntryMemory::new(Chunk::private(depth, payload_len, Pages::Huge)?);
        let ring = PrivateRing::new(queue, device.as_fd(), depth)?;
        Worker::start(queue, ring, memory)
    };
    spawn(
        session,
        format!("shmfuse-q{}", queue.0),
        move |_| prepare(),
        move |session, thread, worker| worker.run(session, thread),
    )
}

/// Ties the calling thread to its queue's CPU. A CPU that is offline, or not allowed to this
/// process, makes no requests worth speaking of: its queue is served from anywhere.
pub(super) fn pin(queue: QueueId) {
    let cpu = usize::from(queue.0);
    if cpu >= CpuSet::MAX_CPU {
        return;
    }
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    if let Err(errno) = sched_setaffinity(None, &cpus) {
        tracing::debug!(cpu, %errno, "the thread of a queue is not pinned");
    }
}
