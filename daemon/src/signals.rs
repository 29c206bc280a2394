//! The signals that end a mount, or ask about it, as a descriptor to wait on.

use crate::error::{Error, Result};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use std::os::fd::{AsFd, BorrowedFd};

/// SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 of this process, which no longer end it by themselves.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks the signals in this thread and in all that it starts from now on, and collects
    /// them. Programs that are started get the usual signals: the standard library resets them.
    ///
    /// SIGXFSZ is blocked as well, and not collected: a write beyond the limit of file sizes that
    /// the daemon was started with is to fail (`EFBIG`), not to end the mount.
    ///
    /// # Errors
    ///
    /// What signalfd(2) says.
    pub fn collect() -> Result<Self> {
        let set = SigSet::from_iter([
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ]);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let mut blocked = set;
        blocked.add(Signal::SIGXFSZ);
        blocked
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, flags))
            .map(|fd| Self { fd })
            .map_err(|errno| Error::system("cannot wait for signals", errno))
    }

    /// The next signal, if one has arrived.
    pub fn next(&self) -> Option<Signal> {
        let signal = self.fd.read_signal().ok()??;
        Signal::try_from(signal.ssi_signo as i32).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
