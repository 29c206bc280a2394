//! What makes a ring's thread give up its commands when it ends.
//!
//! A thread that ends leaves the commands in its rings alone: they end with the ring, once nobody has it open or
//! mapped. A daemon that is killed while it revokes keeps both, by the thread that cannot go
//! (daemon/src/mount/undertaker.rs). `/dev/fuse` then still hands requests to entries whose copying is the dead thread's
//! task work; it is never done, and what lies there not even an abort ends (`fuse_uring_stop_queues`, fs/fuse/dev_uring.c,
//! passes over entries in `FRRS_FUSE_REQ`).
//!
//! There is one reason for which a thread's end does look through its rings: a request of its own on the
//! descriptor of a ring (`REQ_F_INFLIGHT`, `inflight_tracked`; `io_uring_cancel_generic`, io_uring/cancel.c). It then does the
//! task work that is left and gives up every command. So each ring polls another one, where nothing ever happens.

use super::probe;
use crate::error::Result;
use io_uring::IoUring;
use std::os::fd::{AsRawFd, RawFd};

/// `user_data` of the poll, which completes when the thread ends, and so is not seen unless the kernel refuses it.
pub const ANCHOR: u64 = u64::MAX - 1;

/// The ring where nothing happens.
pub struct Anchor(IoUring);

impl Anchor {
    /// One for the calling thread's ring, to be polled there for input.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says, with the remedy.
    pub fn new() -> Result<Self> {
        let ring = IoUring::builder().dontfork().build(1);
        ring.map(Self).map_err(probe::setup_error)
    }

    /// What to poll.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Says what is to be said of a completion.
    pub fn lost(result: i32) {
        if result < 0 && result != -libc::ECANCELED {
            tracing::warn!(
                result,
                "a killed daemon may leave requests of this queue waiting"
            );
        }
    }
}
