//! What `shmfuse stat` shows of a mount.

mod ahead;
mod merging;

use crate::{
    bpf::{Snapshot, observe::Observation},
    error::Result,
};
pub use ahead::Ahead;
pub use merging::{Merged, Merging};
use rustix::process::Pid;
use serde_json::{Map, Value, json};
use std::{fmt, path::Path};
use transport::{
    counters,
    layout::{Control, LANE_ENTRIES, LANES_PER_QUEUE, Slot},
    ownership::Ownership,
    stats::{LatencyClass, OpcodeSlot},
    wire::Opcode,
};

/// [`Control::ttl_us`] where names and attributes are believed until they are revoked.
pub const UNTIL_REVOKED: u64 = u64::MAX;

/// What was counted, of all requests or of one opcode.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Requests that reached the program.
    pub arrivals: u64,
    /// Answered by it.
    pub answered: u64,
    /// Put on a lane for the daemon, or left standing for it.
    pub dispatched: u64,
    /// Refused by it with an errno.
    pub denied: u64,
    /// Answered by the daemon.
    pub commits: u64,
    /// Of these, with an errno.
    pub errors: u64,
    /// Of the dispatched, those that there was an answer to which had become untrue.
    pub untrue: u64,
    /// Of those, answers renewed from the daemon's reply.
    pub renewed: u64,
    /// Payload bytes of requests that the daemon took.
    pub bytes_in: u64,
    /// Payload bytes of replies.
    pub bytes_out: u64,
}

impl Totals {
    /// Requests that nobody has answered yet.
    pub const fn in_flight(&self) -> u64 {
        let done = self.answered + self.denied + self.commits;
        self.arrivals.saturating_sub(done)
    }

    fn to_json(self) -> Value {
        json!({
            "arrivals": self.arrivals,
            "answered": self.answered,
            "dispatched": self.dispatched,
            "denied": self.denied,
            "commits": self.commits,
            "errors": self.errors,
            "untrue": self.untrue,
            "renewed": self.renewed,
            "in_flight": self.in_flight(),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        })
    }
}

/// One opcode.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Which; `None` for requests whose opcode is not known.
    pub opcode: Option<Opcode>,
    /// What was counted.
    pub totals: Totals,
}

/// The answers that the program may give, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Answering {
    /// Room for so many; 0: the program answers nothing.
    pub entries: u64,
    /// Whether a program renews untrue ones from the daemon's replies.
    pub s6: bool,
    /// Written by the daemon.
    pub filled: u64,
    /// Of these, in the place of another that was true and had to go.
    pub evicted: u64,
    /// Of these, in the place of one about the same that had become untrue.
    pub renewed: u64,
    /// Words that count lookups, taken from an inode that the kernel still knew.
    pub withdrawn: u64,
    /// What is loaded ahead.
    pub s2: Ahead,
}

impl Answering {
    fn of(control: Option<&Control>) -> Self {
        control.map_or_else(Self::default, |page| Self {
            entries: page.facts.get(),
            s6: page.renews.get() != 0,
            filled: page.cache.filled.get(),
            evicted: page.cache.evicted.get(),
            renewed: page.cache.renewed.get(),
            withdrawn: page.cache.withdrawn.get(),
            s2: Ahead::of(page),
        })
    }

    fn to_json(self) -> Value {
        json!({
            "on": self.entries != 0,
            "entries": self.entries,
            "filled": self.filled,
            "evicted": self.evicted,
            "renewed": self.renewed,
            "withdrawn": self.withdrawn,
        })
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entries {
            0 => write!(f, "s1 off"),
            entries => write!(
                f,
                "s1 on, {entries} entries: filled {}, evicted {}, renewed {}, withdrawn {}",
                self.filled, self.evicted, self.renewed, self.withdrawn
            ),
        }
    }
}

/// A mount at one moment.
#[derive(Debug)]
pub struct Report {
    /// `worker` or `kernel`.
    pub engine: &'static str,
    /// `copy` or `passthrough`.
    pub data: &'static str,
    /// How long the kernel believes names and attributes, microseconds, or [`UNTIL_REVOKED`].
    pub ttl_us: u64,
    /// Queues, and slots of each.
    pub queues: (u32, u32),
    /// Of all requests.
    pub totals: Totals,
    /// By opcode, those of which there was a request.
    pub ops: Vec<Op>,
    /// What the program may answer.
    pub s1: Answering,
    /// Requests that were merged.
    pub s5: Merging,
    /// Slots with a request that nobody has answered.
    pub slots_in_use: u64,
    /// Requests that wait for the daemon on all lanes for metadata, and on those for data.
    pub lane_depths: [u64; LANES_PER_QUEUE],
    /// Consumers woken by the program.
    pub wakes: u64,
    /// Corrupt values met by program and daemon, and lane entries dropped.
    pub corrupt: u64,
    /// Sleeps of consumers that ended by their time limit although there was work.
    pub rescued: u64,
    requests: Snapshot,
}

impl Report {
    /// Reads the counters of the daemon `pid`.
    ///
    /// # Errors
    ///
    /// As [`Observation::of_process`].
    pub fn of_process(pid: Pid) -> Result<Self> {
        Ok(Self::of(&Observation::of_process(pid)?))
    }

    /// Reads the counters.
    ///
    /// # Staleness
    ///
    /// Commits are read before arrivals, so no request seems to have been answered before it came.
    pub fn of(observation: &Observation) -> Self {
        let mut totals = Totals::default();
        let (mut wakes, mut corrupt, mut rescued) = (0, 0, 0);
        for queue in observation.queues.iter() {
            let daemon = &queue.daemon;
            totals.commits += daemon.commits.read();
            totals.errors += daemon.errors.read();
            totals.bytes_in += daemon.bytes_in.read();
            totals.bytes_out += daemon.bytes_out.read() + queue.program.bytes_out.read();
            corrupt += daemon.corrupt.read() + daemon.stale.read() + queue.program.corrupt.read();
            rescued += daemon.rescued.read();
            wakes += queue.program.wakes.read();
            let program = counters::Snapshot::of(&queue.program);
            totals.answered += program.answered;
            totals.denied += program.denied;
            totals.dispatched += program.dispatched + program.standing;
            totals.arrivals += program.arrivals;
        }
        let in_use = |slot: &&Slot| slot.ownership().is_ok_and(Ownership::is_in_use);
        let mut lane_depths = [0; LANES_PER_QUEUE];
        for (index, lane) in observation.lanes.iter().enumerate() {
            // The head first: then a distance beyond the lane's length is no race.
            let head = lane.head.0.observe();
            let depth = lane.tail.0.observe().distance_from(head);
            lane_depths[index % LANES_PER_QUEUE] += depth.min(LANE_ENTRIES as u64);
        }
        let ops = ops(observation);
        totals.untrue = ops.iter().map(|op| op.totals.untrue).sum();
        totals.renewed = ops.iter().map(|op| op.totals.renewed).sum();
        let control = observation.control.iter().next();
        let word = |get: fn(&Control) -> u64| control.map_or(0, get);
        Self {
            engine: match word(|page| u64::from(page.rings.get())) {
                2 => "kernel",
                _ => "worker",
            },
            data: match word(|page| u64::from(page.passthrough.get())) {
                0 => "copy",
                _ => "passthrough",
            },
            ttl_us: word(|page| page.ttl_us.get()),
            queues: (
                word(|page| u64::from(page.queues.get())) as u32,
                word(|page| u64::from(page.depth.get())) as u32,
            ),
            totals,
            ops,
            s1: Answering::of(control),
            s5: Merging::of(observation),
            slots_in_use: observation.slots.iter().filter(in_use).count() as u64,
            lane_depths,
            wakes,
            corrupt,
            rescued,
            requests: observation.requests.snapshot(),
        }
    }

    /// Requests as the kernel sent and ended them.
    pub fn requests(&self) -> &Snapshot {
        &self.requests
    }

    /// `strict`, `coherent`, or `ttl=SECONDS`.
    pub fn cache(&self) -> String {
        match self.ttl_us {
            0 => "strict".into(),
            UNTIL_REVOKED => "coherent".into(),
            us => format!("ttl={}", us as f64 / 1e6),
        }
    }

    /// As JSON; the schema is in docs/guide.md.
    pub fn to_json(&self, mountpoint: &Path) -> Value {
        let mut ops = Map::new();
        for op in &self.ops {
            let mut value = op.totals.to_json();
            if let Some(opcode) = op.opcode {
                let latency = self.requests.opcode(opcode).latency;
                value["latency_ns"] = json!({
                    "count": latency.count(),
                    "mean": latency.mean_ns(),
                    "p50": latency.quantile(0.5).map(LatencyClass::ceiling_ns),
                    "p99": latency.quantile(0.99).map(LatencyClass::ceiling_ns),
                    "max": latency.quantile(1.0).map(LatencyClass::ceiling_ns),
                });
            }
            ops.insert(name(op.opcode).to_owned(), value);
        }
        json!({
            "mountpoint": mountpoint.display().to_string(),
            "transport": "shm",
            "engine": self.engine,
            "data": self.data,
            "cache": self.cache(),
            "queues": self.queues.0,
            "depth": self.queues.1,
            "s1": self.s1.to_json(),
            "s2": self.s1.s2.to_json(),
            "s5": self.s5.to_json(),
            "s6": { "on": self.s1.s6, "renewed": self.totals.renewed },
            "totals": self.totals.to_json(),
            "slots": {
                "in_use": self.slots_in_use,
                "all": u64::from(self.queues.0) * u64::from(self.queues.1),
            },
            "lanes": { "metadata": self.lane_depths[0], "bulk": self.lane_depths[1] },
            "wakes": self.wakes,
            "corrupt": self.corrupt,
            "rescued": self.rescued,
            "ops": ops,
        })
    }
}

/// What an opcode is called in tables.
pub(crate) fn name(opcode: Option<Opcode>) -> &'static str {
    opcode.and_then(Opcode::name).unwrap_or("OTHER")
}

fn ops(observation: &Observation) -> Vec<Op> {
    let mut ops: Vec<Op> = OpcodeSlot::all()
        .map(|slot| Op {
            opcode: slot.opcode(),
            totals: Totals::default(),
        })
        .collect();
    for (index, counters) in observation.ops.iter().enumerate() {
        let Some(op) = ops.get_mut(index % Opcode::TABLE_LEN) else {
            continue;
        };
        let totals = &mut op.totals;
        totals.commits += counters.commits.read();
        totals.errors += counters.errors.read();
        totals.bytes_in += counters.bytes_in.read();
        totals.bytes_out += counters.bytes_out.read() + counters.bytes_answered.read();
        totals.untrue += counters.untrue.read();
        totals.renewed += counters.renewed.read();
        totals.answered += counters.answered.read();
        totals.denied += counters.denied.read();
        totals.dispatched += counters.dispatched.read();
        totals.arrivals += counters.arrivals.read();
    }
    ops.retain(|op| op.totals != Totals::default());
    ops
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "transport shm, engine {}, data {}, cache {}, {} queues of {} slots",
            self.engine,
            self.data,
            self.cache(),
            self.queues.0,
            self.queues.1
        )?;
        writeln!(
            f,
            "{:16} {:>10} {:>10} {:>10} {:>8} {:>10} {:>8} {:>9} {:>9} {:>9}",
            "",
            "arrivals",
            "answered",
            "dispatched",
            "denied",
            "commits",
            "errors",
            "p50 µs",
            "p99 µs",
            "max µs"
        )?;
        row(f, "all", &self.totals, None)?;
        for op in &self.ops {
            let latency = op.opcode.map(|opcode| self.requests.opcode(opcode).latency);
            let quantiles = latency.map(|latency| {
                [0.5, 0.99, 1.0].map(|q| latency.quantile(q).map(LatencyClass::ceiling_ns))
            });
            row(f, name(op.opcode), &op.totals, quantiles)?;
        }
        writeln!(
            f,
            "in flight {}, bytes in {}, bytes out {}, wakes {}, corrupt values {}, rescued {}",
            self.totals.in_flight(),
            self.totals.bytes_in,
            self.totals.bytes_out,
            self.wakes,
            self.corrupt,
            self.rescued
        )?;
        writeln!(
            f,
            "slots in use {}, waiting on lanes {} for metadata and {} for data",
            self.slots_in_use, self.lane_depths[0], self.lane_depths[1]
        )?;
        writeln!(f, "{}", self.s1)?;
        writeln!(f, "{}", self.s1.s2)?;
        writeln!(f, "{}", self.s5)?;
        match self.s1.s6 {
            true => writeln!(f, "s6 on: renewed {}", self.totals.renewed),
            false => writeln!(f, "s6 off"),
        }
    }
}

fn row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    totals: &Totals,
    quantiles: Option<[Option<u64>; 3]>,
) -> fmt::Result {
    write!(
        f,
        "{name:16} {:>10} {:>10} {:>10} {:>8} {:>10} {:>8}",
        totals.arrivals,
        totals.answered,
        totals.dispatched,
        totals.denied,
        totals.commits,
        totals.errors
    )?;
    for quantile in quantiles.into_iter().flatten() {
        match quantile {
            Some(ns) => write!(f, " {:>9.1}", ns as f64 / 1e3)?,
            None => write!(f, " {:>9}", "-")?,
        }
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_flight_is_what_nobody_answered() {
        let totals = Totals {
            arrivals: 10,
            answered: 3,
            denied: 1,
            dispatched: 6,
            commits: 4,
            ..Totals::default()
        };
        assert_eq!(totals.in_flight(), 2);
        assert_eq!(totals.to_json()["in_flight"], 2);
    }
}
