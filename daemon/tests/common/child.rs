//! Pieces of a test run in another process.

#![expect(
    unsafe_code,
    reason = "fork is the one way to run a piece of this very test in another process"
)]

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A process that runs a piece of the test.
#[derive(Debug)]
#[must_use = "a child that nobody waits for is not checked"]
pub struct Forked {
    pid: Pid,
}

impl Forked {
    /// Runs `piece` in a new process. It must not start threads, nor take a lock that another
    /// thread of the test may hold.
    pub fn start(piece: impl FnOnce()) -> Self {
        // SAFETY: the child has only the calling thread. It runs `piece`, which by contract
        // waits for no other thread of the parent, and leaves by `_exit`: no destructor and no
        // exit handler of the parent runs. glibc keeps the allocator usable after fork.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => Self { pid: child },
            ForkResult::Child => {
                let code = i32::from(catch_unwind(AssertUnwindSafe(piece)).is_err());
                // SAFETY: ends the process, as said above.
                unsafe { nix::libc::_exit(code) }
            }
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the end of the piece, and fails the test unless it ended well.
    pub fn join(self) {
        let status = waitpid(self.pid, None).expect("waitpid");
        assert_eq!(
            status,
            WaitStatus::Exited(self.pid, 0),
            "a forked piece of the test failed"
        );
    }
}
