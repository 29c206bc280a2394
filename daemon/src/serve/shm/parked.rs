//! Sleeping on a parking word (docs/protocol.md, 7).
//!
//! A private futex: the kernel program wakes it by an SQE, other threads of the daemon by futex(2).
#![expect(
    unsafe_code,
    reason = "futex(2) on a word that only the transport crate may touch otherwise"
)]

use crate::{bpf::SharedMemory, serve::uring::bell::Bell};
use std::{
    fmt, io, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use transport::{
    layout::Park,
    memory::Memory,
    park::{ASLEEP, Rest, Sleeper, must_wake},
};

/// How long a consumer sleeps at most, for what nobody can tell it, such as that the program is gone
/// (protocol 6.7). Where wake-ups get lost it looks by itself ever so often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience(Duration);

impl Patience {
    const MIN: Self = Self(Duration::from_millis(1));
    /// That of a consumer that is woken when it should be.
    pub const MAX: Self = Self(Duration::from_millis(100));

    /// What is left of it after a sleep.
    #[must_use]
    pub fn after(self, slept: Slept) -> Self {
        match slept {
            Slept::Not => self,
            Slept::Well => Self::MAX,
            Slept::InVain => Self((self.0 * 2).min(Self::MAX.0)),
            Slept::Rescued => Self::MIN,
        }
    }
}

/// Where one consumer sleeps, and the bell that wakes it.
pub struct ParkBell {
    memory: Arc<SharedMemory>,
    consumer: u32,
    rung: AtomicBool,
}

impl ParkBell {
    /// That of `consumer`, if there is such a one.
    pub fn new(memory: Arc<SharedMemory>, consumer: u32) -> Option<Self> {
        memory.park(consumer)?;
        Some(Self {
            memory,
            consumer,
            rung: AtomicBool::new(false),
        })
    }

    /// Whether it has rung since [`heard`](Bell::heard).
    pub fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Sleeps until somebody wakes, unless there is work. For the consumer alone. May return for no
    /// reason, and does when `patience` has passed twice.
    ///
    /// # Errors
    ///
    /// `EINTR`, if a signal came.
    pub fn sleep(&self, patience: Patience, has_work: impl Fn() -> bool) -> io::Result<Slept> {
        let park = self.park();
        let mut sleeper = Sleeper::new(park);
        let has_work = || self.has_rung() || has_work();
        if sleeper.rest(has_work) == Rest::Work {
            return Ok(Slept::Not);
        }
        // Work is published before its consumer is woken. So whoever has just published is about to
        // wake; if nobody does for as long again, nobody will.
        let (slept, overslept) = match wait(park, patience) {
            Ok(Wait::TimedOut) if has_work() => (wait(park, patience), Slept::Rescued),
            slept => (slept, Slept::InVain),
        };
        let woken = sleeper.wake_up();
        Ok(match slept? {
            Wait::TimedOut if !woken => overslept,
            _ => Slept::Well,
        })
    }

    fn park(&self) -> &Park {
        self.memory
            .park(self.consumer)
            .expect("`new` has looked it up")
    }
}

impl Bell for ParkBell {
    fn ring(&self) {
        // Before the swap in `must_wake`: the sleeper's last look comes after its own swap.
        self.rung.store(true, Ordering::Release);
        let park = self.park();
        if must_wake(park) {
            wake(park);
        }
    }

    fn heard(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl fmt::Debug for ParkBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkBell")
            .field("consumer", &self.consumer)
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}

/// How a sleep came about and ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slept {
    /// There was work.
    Not,
    /// Somebody woke.
    Well,
    /// Nobody woke, and there was nothing to wake for.
    InVain,
    /// There was work, and nobody woke.
    Rescued,
}

/// How futex(2) returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// Woken, or the word had changed before the sleep.
    Woken,
    TimedOut,
}

fn wait(park: &Park, patience: Patience) -> io::Result<Wait> {
    let timeout = libc::timespec {
        tv_sec: 0,
        tv_nsec: patience.0.subsec_nanos().into(),
    };
    // SAFETY: the word, the first of the line, is mapped while `park` is borrowed; the kernel only
    // compares it. The time is read during the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_futex,
            ptr::from_ref(park).cast::<u32>(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            ASLEEP,
            &raw const timeout,
        )
    };
    if outcome == 0 {
        return Ok(Wait::Woken);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => Ok(Wait::TimedOut),
        Some(libc::EAGAIN) => Ok(Wait::Woken),
        _ => Err(error),
    }
}

fn wake(park: &Park) {
    // SAFETY: a private wake uses the address alone.
    let woken = unsafe {
        libc::syscall(
            libc::SYS_futex,
            ptr::from_ref(park).cast::<u32>(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        )
    };
    debug_assert!(woken >= 0, "FUTEX_WAKE of a mapped word cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_short_after_a_lost_wake_up_and_grows_back() {
        let short = Patience::MAX.after(Slept::Rescued);
        assert_eq!(short, Patience::MIN);
        assert_eq!(short.after(Slept::Not), short);
        assert_eq!(short.after(Slept::Well), Patience::MAX);
        let grown = (0..7).fold(short, |patience, _| patience.after(Slept::InVain));
        assert_eq!(grown, Patience::MAX);
    }
}
