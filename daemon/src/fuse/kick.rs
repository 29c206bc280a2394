//! Waking a thread out of a system call.
//!
//! A signal whose handler does nothing, installed without `SA_RESTART`: a system call that sleeps
//! returns `EINTR`. A signal that arrives just before the system call is lost on it, so who kicks
//! repeats the kick until the thread has answered in some other way ([`super::interrupt`]).

#![expect(
    unsafe_code,
    reason = "sigaction(2) and tgkill(2) have no safe wrapper"
)]

use crate::error::{Error, Result};
use nix::{
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::{Pid, gettid},
};
use std::sync::OnceLock;

/// The signal: its default action is to be ignored, so that a stray one does no harm.
const KICK: Signal = Signal::SIGURG;

/// A thread of this process that can be kicked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KickHandle(Pid);

impl KickHandle {
    /// Makes the calling thread one that can be kicked.
    ///
    /// # Errors
    ///
    /// What sigaction(2) and pthread_sigmask(3) say.
    pub fn of_this_thread() -> Result<Self> {
        install_handler()?;
        let mut set = SigSet::empty();
        set.add(KICK);
        set.thread_unblock()
            .map_err(|errno| Error::system("cannot unblock SIGURG", errno))?;
        Ok(Self(gettid()))
    }

    /// Sends the signal. Nothing happens if the thread has ended; if its id has been given to
    /// another thread of this process, that one sees a spurious `EINTR`.
    pub fn kick(self) {
        // SAFETY: tgkill reads no memory; the signal's handler does nothing.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                libc::c_long::from(std::process::id() as i32),
                libc::c_long::from(self.0.as_raw()),
                libc::c_long::from(KICK as i32),
            );
        }
    }
}

extern "C" fn do_nothing(_: libc::c_int) {}

fn install_handler() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), nix::Error>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let action = SigAction::new(
            SigHandler::Handler(do_nothing),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler touches nothing, so it is async-signal-safe.
        unsafe { sigaction(KICK, &action) }.map(drop)
    });
    installed.map_err(|errno| Error::system("cannot install the handler of SIGURG", errno))
}
