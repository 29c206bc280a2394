//! Making the kernel look at a queue's pending requests once more.
//!
//! A request that finds no free entry lines up in the queue, and the next commit of any entry takes
//! it. An entry that is registered while requests are lined up takes none
//! (`fuse_uring_do_register`, fs/fuse/dev_uring.c): if every older entry holds a request that
//! waits for a lock, no commit comes, and the unlock may be among those that are lined up. A nudge
//! is a request of our own: it takes the fresh entry, and its commit takes the next in line
//! (docs/decisions/0004-ring-entries-and-locks.md).

use super::entry::QueueId;
use crate::fuse::{Errno, Session};

/// The nudges of one queue, sent by its worker.
#[derive(Debug)]
pub struct Nudges {
    queue: QueueId,
    sent: u32,
}

impl Nudges {
    /// None so far.
    pub fn new(queue: QueueId) -> Self {
        Self { queue, sent: 0 }
    }

    /// Sends one, by way of the regular file `nodeid`, which the kernel knows: a retrieval of no
    /// data, whose NOTIFY_REPLY is a request like any other. Only files of that kind have locks that
    /// reach the daemon (`fuse_dir_operations`, fs/fuse/dir.c, has none), and only of them can be
    /// retrieved. The calling thread is on the queue's CPU, or the request goes to another queue.
    pub fn send(&mut self, session: &Session, nodeid: u64) {
        self.sent = self.sent.wrapping_add(1);
        let unique = unique(self.queue, self.sent);
        match session.device().notify_retrieve(unique, nodeid, 0, 0) {
            Ok(()) | Err(Errno::NODEV | Errno::NOTCONN) => {}
            Err(errno) => {
                tracing::warn!(queue = self.queue.0, nodeid, %errno, "the queue cannot be nudged");
            }
        }
    }
}

/// The kernel's own are even and count up from 0, one a request: bit 60 is out of their reach, and
/// a number with it is one that a request can have (`transport::index::Unique`). Bit 0 is for
/// interrupts (`FUSE_INT_REQ_BIT`, fs/fuse/dev.c).
fn unique(queue: QueueId, number: u32) -> u64 {
    1 << 60 | u64::from(queue.0) << 33 | u64::from(number) << 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniques_differ_and_leave_the_bit_of_interrupts_alone() {
        let mut seen = std::collections::HashSet::new();
        for queue in [0, 1, u16::MAX] {
            for number in [0, 1, u32::MAX] {
                let unique = unique(QueueId(queue), number);
                assert_eq!(unique & 1, 0);
                assert!(transport::index::Unique::new(unique).is_some());
                assert!(seen.insert(unique));
            }
        }
    }
}
