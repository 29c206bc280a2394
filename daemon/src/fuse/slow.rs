//! Requests that take long: which are to be served beside their queue, so that others need not wait.
//!
//! What is remembered is by inode and opcode: fsync(2) of a file may wait for the disk each time while
//! its writes do not. A request that took longer than the bound makes its kind suspect. The next of
//! that kind is watched: if it took long again, and its thread slept meanwhile (it was not merely kept
//! from its processor), the kind is slow, and goes to a thread of its own until one of them was quick.
//! So a slow lower file holds up the others of its queue twice, not each time; and nothing is paid for
//! it by requests that are quick, but for reading the clock.

use nix::sys::resource::{UsageWho, getrusage};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use transport::wire::{InHeader, Opcode};

/// Kinds that are remembered, a power of two. Of two that fall on one place the later stays.
const PLACES: usize = 256;
/// The states of a kind, in the lowest bits of its place.
const SUSPECT: u64 = 1;
const SLOW: u64 = 2;

/// The kinds of requests that were not quick. See the [module's documentation](self).
#[derive(Debug)]
pub struct SlowKinds {
    /// `None`: nothing is watched.
    bound: Option<Duration>,
    places: [AtomicU64; PLACES],
}

/// A request of a kind: what it asks for, and of which inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind(u64);

impl Kind {
    fn of(header: &InHeader) -> Self {
        // Nodeids are given one after the other, opcodes are below 64: no two kinds are alike.
        Self(header.nodeid << 8 | u64::from(header.opcode.0 & 0x3f) << 2)
    }

    fn place(self, places: &[AtomicU64; PLACES]) -> &AtomicU64 {
        // Fibonacci hashing: the upper bits of the product depend on all of the factor's.
        let hash = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &places[(hash >> (u64::BITS - PLACES.trailing_zeros())) as usize]
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct Watch {
    kind: Kind,
    start: Instant,
    /// How often the thread had slept, if the kind is suspect.
    sleeps: Option<i64>,
}

impl SlowKinds {
    /// Nothing is slow yet. What takes longer than `bound` is; `None`: nothing ever is.
    pub fn new(bound: Option<Duration>) -> Self {
        Self {
            bound,
            places: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Whether the request is to be served beside its queue.
    pub fn is_slow(&self, header: &InHeader) -> bool {
        let kind = Kind::of(header);
        self.bound.is_some() && kind.place(&self.places).load(Ordering::Relaxed) == kind.0 | SLOW
    }

    /// The calling thread begins to serve a request.
    pub fn begin(&self, header: &InHeader) -> Option<Watch> {
        self.bound?;
        let kind = Kind::of(header);
        let suspect = kind.place(&self.places).load(Ordering::Relaxed) == kind.0 | SUSPECT;
        Some(Watch {
            kind,
            start: Instant::now(),
            sleeps: suspect.then(sleeps).flatten(),
        })
    }

    /// The same thread has served it, as far as somebody waits for it.
    pub fn end(&self, watch: Option<Watch>) {
        let (Some(bound), Some(watch)) = (self.bound, watch) else {
            return;
        };
        let place = watch.kind.place(&self.places);
        let long = watch.start.elapsed() >= bound;
        match (long, watch.sleeps) {
            (false, None) => {}
            (false, Some(_)) => place.store(0, Ordering::Relaxed),
            (true, None) => place.store(watch.kind.0 | SUSPECT, Ordering::Relaxed),
            (true, before) if before != sleeps() => {
                place.store(watch.kind.0 | SLOW, Ordering::Relaxed);
            }
            (true, Some(_)) => {}
        }
    }

    /// A request that [is slow](Self::is_slow) was served beside, which took so long.
    pub fn end_beside(&self, header: &InHeader, took: Duration) {
        let kind = Kind::of(header);
        let place = kind.place(&self.places);
        if self.bound.is_some_and(|bound| took < bound)
            && place.load(Ordering::Relaxed) == kind.0 | SLOW
        {
            place.store(0, Ordering::Relaxed);
        }
    }
}

/// What an application gets if there is no thread for a request that waits.
pub fn refusal_of(opcode: Opcode) -> super::Errno {
    match opcode {
        Opcode::SETLK | Opcode::SETLKW => super::Errno::NOLCK,
        _ => super::Errno::NOMEM,
    }
}

/// How often this thread gave its processor away because it had to wait.
fn sleeps() -> Option<i64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(usage.voluntary_context_switches())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const BOUND: Duration = Duration::from_millis(1);

    fn header(nodeid: u64, opcode: Opcode) -> InHeader {
        InHeader {
            nodeid,
            opcode,
            ..InHeader::default()
        }
    }

    fn serve(kinds: &SlowKinds, header: &InHeader, work: impl FnOnce()) {
        let watch = kinds.begin(header);
        work();
        kinds.end(watch);
    }

    fn sleep() {
        thread::sleep(2 * BOUND);
    }

    fn compute() {
        let start = Instant::now();
        while start.elapsed() < BOUND {}
    }

    #[test]
    fn what_slept_twice_is_slow_until_it_was_quick() {
        let kinds = SlowKinds::new(Some(BOUND));
        let (slow, other) = (header(7, Opcode::FSYNC), header(7, Opcode::WRITE));
        serve(&kinds, &slow, sleep);
        assert!(!kinds.is_slow(&slow), "once may be chance");
        serve(&kinds, &slow, sleep);
        assert!(kinds.is_slow(&slow) && !kinds.is_slow(&other));
        kinds.end_beside(&slow, 2 * BOUND);
        assert!(kinds.is_slow(&slow));
        kinds.end_beside(&slow, Duration::ZERO);
        assert!(!kinds.is_slow(&slow));
    }

    #[test]
    fn a_quick_one_lifts_the_suspicion() {
        let kinds = SlowKinds::new(Some(Duration::from_secs(1)));
        let header = header(7, Opcode::READ);
        let place = Kind::of(&header).place(&kinds.places);
        place.store(Kind::of(&header).0 | SUSPECT, Ordering::Relaxed);
        serve(&kinds, &header, || ());
        assert_eq!(place.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_only_computes_is_never_slow() {
        let kinds = SlowKinds::new(Some(BOUND));
        let header = header(7, Opcode::READ);
        // It may be preempted, which is no sleep.
        for _ in 0..10 {
            serve(&kinds, &header, compute);
        }
        assert!(!kinds.is_slow(&header));
    }

    #[test]
    fn without_a_bound_nothing_is_slow() {
        let kinds = SlowKinds::new(None);
        let header = header(7, Opcode::READ);
        for _ in 0..3 {
            serve(&kinds, &header, sleep);
        }
        assert!(!kinds.is_slow(&header));
    }
}
