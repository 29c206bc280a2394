//! What program and daemon count of a queue (protocol 12).
//!
//! Each word has one writer and only grows. `shmfuse stat` reads them without anybody noticing.

use crate::sync::{Counter, Tally, Word, weakened};

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
    /// Sleeps that ended by their time limit though there was work of which nobody had told (protocol
    /// 6.7). 0 in a correct run.
    pub rescued: Counter,
    /// Lower reads that served several READs at once.
    pub reads_joint: Counter,
    /// The READs that they served.
    pub reads_merged: Counter,
    /// Lower writes that served several WRITEs at once.
    pub writes_joint: Counter,
    /// The WRITEs that they served.
    pub writes_merged: Counter,
    /// Unused.
    pub reserved: [Word; 2],
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

/// What is counted of a mount's caches, by any thread of the daemon.
#[repr(C)]
#[derive(Default, Debug)]
pub struct CacheCounters {
    /// Facts written.
    pub filled: Tally,
    /// Of these, in the place of another that was true and had to go.
    pub evicted: Tally,
    /// Of these, in the place of one about the same that had become untrue.
    pub renewed: Tally,
    /// Words that count look-ups, taken from an inode that the kernel still knows.
    pub withdrawn: Tally,
    /// What is loaded ahead.
    pub prefetch: PrefetchCounters,
}

/// What is counted of directories loaded before they are asked for, by one thread of the daemon.
#[repr(C)]
#[derive(Default, Debug)]
pub struct PrefetchCounters {
    /// Directories that it began to load.
    pub started: Tally,
    /// Entries that the kernel did not know by then.
    pub loaded: Tally,
    /// Of these, those that were looked up before they were let go of.
    pub used: Tally,
    /// Of these, those that were let go of without that.
    pub wasted: Tally,
    /// Directories given up because a listing of them was asked for.
    pub abandoned: Tally,
    /// How often loading was stopped because it did not pay.
    pub stopped: Tally,
    /// How often it went on after that.
    pub resumed: Tally,
}

/// What is counted of one opcode in one queue. Elements follow each other queue by queue, each with
/// [`TABLE_LEN`](crate::wire::Opcode::TABLE_LEN) of them; slot 0 takes requests whose opcode is not
/// known.
#[repr(C, align(128))]
#[derive(Default, Debug)]
pub struct OpCounters {
    /// By the program: requests that reached it.
    pub arrivals: Counter,
    /// By the program: answered from the kernel.
    pub answered: Counter,
    /// By the program: put on a lane.
    pub dispatched: Counter,
    /// By the program: refused with an errno by a rule.
    pub denied: Counter,
    /// By the program: bytes of its replies.
    pub bytes_answered: Counter,
    /// By the program: of those dispatched, requests that there was an answer to which had become
    /// untrue.
    pub untrue: Counter,
    /// By the program: of those, answers renewed from the daemon's reply.
    pub renewed: Counter,
    /// Unused.
    pub reserved: Word,
    /// By the daemon: commits published.
    pub commits: Counter,
    /// By the daemon: of these, replies with an errno.
    pub errors: Counter,
    /// By the daemon: payload bytes of requests.
    pub bytes_in: Counter,
    /// By the daemon: payload bytes of replies.
    pub bytes_out: Counter,
    /// Unused.
    pub reserved_too: [Word; 4],
}

/// The element in which requests of `opcode` in `queue` are counted.
#[inline(always)]
pub const fn op_element(queue: crate::index::QueueIndex, opcode: crate::wire::Opcode) -> u32 {
    let slot = crate::stats::OpcodeSlot::of(opcode).index() as u32;
    queue.0 as u32 * crate::wire::Opcode::TABLE_LEN as u32 + slot
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
