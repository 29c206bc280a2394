//! What a serving thread carries from request to request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::passthrough::creds::ThreadCreds;

/// A thread that serves requests. Made on the thread itself, and never leaves it.
#[derive(Debug)]
pub struct ServeThread {
    /// Who the thread currently acts as.
    pub creds: ThreadCreds,
    interrupted: Arc<AtomicBool>,
}

impl ServeThread {
    /// Prepares the calling thread: its umask becomes its own (`unshare(CLONE_FS)`).
    ///
    /// # Errors
    ///
    /// What unshare(2) says.
    pub fn enter() -> crate::error::Result<Self> {
        Ok(Self {
            creds: ThreadCreds::enter()?,
            interrupted: Arc::default(),
        })
    }

    /// Lets go of every privilege that serving does not take ([`crate::privilege`]), for good. To
    /// be called when all that the thread serves with has been made: rings, mappings.
    ///
    /// # Errors
    ///
    /// Those of [`privilege::settle_server`](crate::privilege::settle_server).
    pub fn settle(&mut self) -> crate::error::Result<()> {
        self.creds.settle(crate::privilege::settle_server()?);
        Ok(())
    }

    /// Whether the application that waits for the current request has been interrupted. A system
    /// call that fails with `EINTR` is to be repeated unless it has.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// The flag behind [`interrupted`](Self::interrupted): raised by who receives INTERRUPT (and
    /// signals the thread), lowered before each request.
    pub fn interrupt_flag(&self) -> &Arc<AtomicBool> {
        &self.interrupted
    }
}
