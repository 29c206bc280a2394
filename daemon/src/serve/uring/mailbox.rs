//! What other threads tell a queue's worker.
//!
//! Only the worker may use its ring (`IORING_SETUP_SINGLE_ISSUER`), so a request that was served
//! elsewhere comes back through a mailbox, which wakes the worker by an eventfd that its ring
//! watches.

use super::entry::EntryIndex;
use crate::{
    error::{Error, Result},
    fuse::{Errno, OwnedExchange, Reply},
};
use rustix::event::{EventfdFlags, eventfd};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

/// A request that was served on a thread of the blocking pool.
#[derive(Debug)]
pub struct Finished {
    /// The entry it lies in.
    pub entry: EntryIndex,
    /// Its identity: an entry may have gone on to another request.
    pub commit_id: u64,
    /// Where a reply's body lies.
    pub exchange: OwnedExchange,
    /// What is sent.
    pub reply: Reply,
}

/// The way from any thread to one worker.
#[derive(Debug)]
pub struct Mailbox {
    finished: Mutex<Vec<Finished>>,
    event: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// What eventfd(2) says.
    pub fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::system("cannot create an eventfd", errno))?;
        Ok(Self {
            finished: Mutex::default(),
            event,
        })
    }

    /// Hands a served request back, and wakes the worker. After the worker has ended: nothing.
    pub fn post(&self, finished: Finished) {
        let mut queue = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(finished);
        // Whoever found the mailbox empty wakes; the worker takes everything at once.
        if queue.len() > 1 {
            return;
        }
        drop(queue);
        if let Err(errno) = rustix::io::write(&self.event, &1u64.to_ne_bytes()) {
            // EAGAIN only: a counter at its maximum can be read, so the worker is awake.
            tracing::debug!(%errno, "wake-up of a queue's worker");
        }
    }

    /// Takes everything there is. Called by the worker when its ring says that the mailbox can
    /// be read.
    pub fn take(&self) -> Vec<Finished> {
        // The counter first: what is posted after this read wakes again.
        let mut counter = [0; 8];
        if let Err(errno) = rustix::io::read(&self.event, &mut counter)
            && errno != Errno::AGAIN
        {
            tracing::warn!(%errno, "cannot read the mailbox's eventfd");
        }
        std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transport::wire::InHeader;

    fn finished(entry: u32) -> Finished {
        Finished {
            entry: EntryIndex(entry),
            commit_id: 2,
            exchange: OwnedExchange::copy(&InHeader::default(), &[], &[], 0),
            reply: Reply::Body(0),
        }
    }

    fn readable(mailbox: &Mailbox) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn everything_posted_is_taken_once_and_in_order() {
        let mailbox = Mailbox::new().unwrap();
        assert!(!readable(&mailbox));
        for entry in 0..3 {
            mailbox.post(finished(entry));
        }
        assert!(readable(&mailbox));
        let taken: Vec<_> = mailbox.take().iter().map(|f| f.entry.0).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(!readable(&mailbox));
        assert!(mailbox.take().is_empty());
    }

    #[test]
    fn what_is_posted_after_a_take_wakes_again() {
        let mailbox = Mailbox::new().unwrap();
        mailbox.post(finished(0));
        mailbox.take();
        mailbox.post(finished(1));
        assert!(readable(&mailbox));
    }
}
