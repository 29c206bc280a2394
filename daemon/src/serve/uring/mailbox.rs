//! What other threads tell a queue's worker.
//!
//! Only the worker may use its ring, so a request that was served elsewhere comes back through a
//! mailbox, which wakes the worker by the ring's [`Bell`].

use super::{bell::Bell, entry::EntryIndex};
use crate::fuse::{OwnedExchange, Reply};
use std::sync::{Arc, Mutex, PoisonError};

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
    bell: Arc<dyn Bell>,
}

impl Mailbox {
    /// An empty one of the worker that `bell` wakes.
    pub fn new(bell: Arc<dyn Bell>) -> Self {
        Self {
            finished: Mutex::default(),
            bell,
        }
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
        self.bell.ring();
    }

    /// Takes everything there is. Called by the worker when it was woken.
    pub fn take(&self) -> Vec<Finished> {
        // First of all: what is posted after this wakes again.
        self.bell.heard();
        std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::uring::bell::EventBell;
    use std::os::fd::AsFd;
    use transport::wire::InHeader;

    fn mailbox() -> (Mailbox, Arc<EventBell>) {
        let bell = Arc::new(EventBell::new().unwrap());
        (Mailbox::new(Arc::clone(&bell) as Arc<dyn Bell>), bell)
    }

    fn finished(entry: u32) -> Finished {
        Finished {
            entry: EntryIndex(entry),
            commit_id: 2,
            exchange: OwnedExchange::copy(&InHeader::default(), &[], &[], 0),
            reply: Reply::Body(0),
        }
    }

    fn readable(bell: &EventBell) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn everything_posted_is_taken_once_and_in_order() {
        let (mailbox, bell) = mailbox();
        assert!(!readable(&bell));
        for entry in 0..3 {
            mailbox.post(finished(entry));
        }
        assert!(readable(&bell));
        let taken: Vec<_> = mailbox.take().iter().map(|f| f.entry.0).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(!readable(&bell));
        assert!(mailbox.take().is_empty());
    }

    #[test]
    fn what_is_posted_after_a_take_wakes_again() {
        let (mailbox, bell) = mailbox();
        mailbox.post(finished(0));
        mailbox.take();
        mailbox.post(finished(1));
        assert!(readable(&bell));
    }
}
