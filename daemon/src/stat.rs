//! What `shmfuse stat` shows of a mount.

use crate::{
    bpf::{Snapshot, observe::Observation},
    error::Result,
};
use rustix::process::Pid;
use serde_json::{Map, Value, json};
use std::{fmt, path::Path};
use transport::{
    counters,
    stats::{LatencyClass, OpcodeSlot},
    wire::Opcode,
};

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

/// A mount at one moment.
#[derive(Debug)]
pub struct Report {
    /// `worker` or `kernel`.
    pub engine: &'static str,
    /// `copy` or `passthrough`.
    pub data: &'static str,
    /// How long the kernel believes names and attributes, microseconds.
    pub ttl_us: u64,
    /// Queues, and slots of each.
    pub queues: (u32, u32),
    /// Of all requests.
    pub totals: Totals,
    /// By opcode, those of which there was a request.
    pub ops: Vec<Op>,
    /// Consumers woken by the program.
    pub wakes: u64,
    /// Corrupt values met by program and daemon, and lane entries dropped.
    pub corrupt: u64,
    requests: Snapshot,
}

impl Report {
    /// Reads the counters of the daemon `pid`.
    ///
    /// # Errors
    ///
    /// As [`Observation::of_process`].
    ///
    /// # Staleness
    ///
    /// Commits are read before arrivals, so no request seems to have been answered before it came.
    pub fn of_process(pid: Pid) -> Result<Self> {
        let observation = Observation::of_process(pid)?;
        let mut totals = Totals::default();
        let (mut wakes, mut corrupt) = (0, 0);
        for queue in observation.queues.iter() {
            let daemon = &queue.daemon;
            totals.commits += daemon.commits.read();
            totals.errors += daemon.errors.read();
            totals.bytes_in += daemon.bytes_in.read();
            totals.bytes_out += daemon.bytes_out.read() + queue.program.bytes_out.read();
            corrupt += daemon.corrupt.read() + daemon.stale.read() + queue.program.corrupt.read();
            wakes += queue.program.wakes.read();
            let program = counters::Snapshot::of(&queue.program);
            totals.answered += program.answered;
            totals.denied += program.denied;
            totals.dispatched += program.dispatched + program.standing;
            totals.arrivals += program.arrivals;
        }
        let control = observation.control.iter().next();
        let word = |get: fn(&transport::layout::Control) -> u64| control.map_or(0, get);
        Ok(Self {
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
            ops: ops(&observation),
            wakes,
            corrupt,
            requests: observation.requests.snapshot(),
        })
    }

    /// `strict`, or `ttl=SECONDS`.
    pub fn cache(&self) -> String {
        match self.ttl_us {
            0 => "strict".into(),
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
            "totals": self.totals.to_json(),
            "wakes": self.wakes,
            "corrupt": self.corrupt,
            "ops": ops,
        })
    }
}

fn name(opcode: Option<Opcode>) -> &'static str {
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
        totals.bytes_out += counters.bytes_out.read();
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
            "in flight {}, bytes in {}, bytes out {}, wakes {}, corrupt values {}",
            self.totals.in_flight(),
            self.totals.bytes_in,
            self.totals.bytes_out,
            self.wakes,
            self.corrupt
        )
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
