//! What wakes the thread that waits in a ring.

use crate::{
    error::{Error, Result},
    fuse::Errno,
};
use rustix::event::{EventfdFlags, eventfd};
use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Wakes the thread that waits in a ring; any thread may. The ring then has an
/// [`Event::Woken`](super::ring::Event::Woken).
pub trait Bell: Send + Sync + fmt::Debug {
    /// Wakes. After the thread has ended: nothing.
    fn ring(&self);

    /// The thread has woken: what rings after this call wakes again. To be called before the thread
    /// looks for why it was woken.
    fn heard(&self);
}

/// A bell for rings that can watch a descriptor.
#[derive(Debug)]
pub struct EventBell(OwnedFd);

impl EventBell {
    /// A silent one.
    ///
    /// # Errors
    ///
    /// What eventfd(2) says.
    pub fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(|errno| Error::system("cannot create an eventfd", errno))
    }
}

impl Bell for EventBell {
    fn ring(&self) {
        if let Err(errno) = rustix::io::write(&self.0, &1u64.to_ne_bytes()) {
            // EAGAIN only: a counter at its maximum can be read, so the thread is awake.
            tracing::debug!(%errno, "wake-up of a queue's worker");
        }
    }

    fn heard(&self) {
        let mut counter = [0; 8];
        if let Err(errno) = rustix::io::read(&self.0, &mut counter)
            && errno != Errno::AGAIN
        {
            tracing::warn!(%errno, "cannot read the eventfd of a queue's worker");
        }
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
