//! What program and daemon count of a queue (protocol 12).
//!
//! Each word has one writer and only grows. `shmfuse stat` reads them without anybody noticing.

use crate::sync::{Counter, Word, weakened};

/// What the program counts about one queue (protocol 12).
#[repr(C, align(128))]
#[derive(Default, Debug)]
pub struct ProgramCounters {
    /// Requests that reached the program. Counted before any of the outcomes.
    pub arrivals: Counter,
    /// Outcome: answered from the kernel.
    pub answered: Counter,
    /// Outcome: put on a lane.
    pub dispatched: Counter,
    /// Outcome: refused with an errno by a rule.
    pub denied: Counter,
    /// Outcome: left standing for the daemon.
    pub standing: Counter,
    /// Completions left standing because a value was corrupt.
    pub corrupt: Counter,
    /// Consumers woken.
    pub wakes: Counter,
    /// Completions of wakes.
    pub wake_completions: Counter,
    /// Bytes of replies the program gave.
    pub bytes_out: Counter,
    /// Unused.
    pub reserved: [Word; 7],
}

/// What the daemon counts about one queue (protocol 12).
#[repr(C, align(128))]
#[derive(Default, Debug)]
pub struct DaemonCounters {
    /// Requests taken from a lane.
    pub taken: Counter,
    /// Requests taken from a standing completion.
    pub taken_standing: Counter,
    /// Commits published.
    pub commits: Counter,
    /// Of these, replies with an errno.
    pub errors: Counter,
    /// Lane entries whose slot had gone on.
    pub stale: Counter,
    /// Corrupt values met.
    pub corrupt: Counter,
    /// Times that the consumer went to sleep.
    pub parks: Counter,
    /// Payload bytes of requests.
    pub bytes_in: Counter,
    /// Payload bytes of replies.
    pub bytes_out: Counter,
    /// Unused.
    pub reserved: [Word; 7],
}

/// The statistics of one queue.
#[repr(C)]
#[derive(Default, Debug)]
pub struct QueueCounters {
    /// By the program.
    pub program: ProgramCounters,
    /// By the daemon, under the lock of the queue's SQ.
    pub daemon: DaemonCounters,
}

/// The program's counters of one queue, read so that they add up: the outcomes never exceed the
/// arrivals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Requests that reached the program.
    pub arrivals: u64,
    /// Answered from the kernel.
    pub answered: u64,
    /// Put on a lane.
    pub dispatched: u64,
    /// Refused by a rule.
    pub denied: u64,
    /// Left standing for the daemon.
    pub standing: u64,
}

impl Snapshot {
    /// Reads the outcomes first, and then the arrivals (SP-STAT).
    pub fn of(counters: &ProgramCounters) -> Self {
        let early = if weakened!(StatArrivalsFirst) {
            counters.arrivals.read()
        } else {
            0
        };
        let answered = counters.answered.read();
        let dispatched = counters.dispatched.read();
        let denied = counters.denied.read();
        let standing = counters.standing.read();
        let arrivals = counters.arrivals.read();
        Self {
            arrivals: if weakened!(StatArrivalsFirst) {
                early
            } else {
                arrivals
            },
            answered,
            dispatched,
            denied,
            standing,
        }
    }

    /// Requests that arrived and have no outcome yet: those that a program works on right now.
    pub const fn undecided(&self) -> u64 {
        let outcomes = self.answered + self.dispatched + self.denied + self.standing;
        self.arrivals.saturating_sub(outcomes)
    }
}
