//! What happened on a mount between two looks at it.

use super::watched::Sample;
use crate::{bpf::Snapshot, stat};
use serde_json::{Map, Value, json};
use std::{fmt, path::Path};
use transport::{stats::LatencyClass, wire::Opcode};

/// One opcode in an interval.
#[derive(Clone, PartialEq, Debug)]
pub struct Op {
    /// What it is called.
    pub name: &'static str,
    /// Requests that ended, a second.
    pub rate: f64,
    /// Of these, with an errno.
    pub error_rate: f64,
    /// Of these, answered by the kernel program.
    pub answered_rate: f64,
    /// Nanoseconds from sending to end: the mean, and upper ends of the classes of quantiles.
    pub mean_ns: Option<u64>,
    /// The median.
    pub p50_ns: Option<u64>,
    /// The 99th percentile.
    pub p99_ns: Option<u64>,
}

/// What happened in an interval, and how it stood at its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Interval {
    /// How long it was.
    pub seconds: f64,
    /// CPU time of the daemon, in per cent of one CPU.
    pub cpu_percent: f64,
    /// The daemon's resident memory in bytes.
    pub resident: u64,
    /// The daemon's threads.
    pub threads: u64,
    /// By opcode, the most frequent first; none without a request.
    pub ops: Vec<Op>,
    /// Requests sent and not ended, at the end.
    pub in_flight: u64,
    /// Of mounts with the shm transport.
    pub shared: Option<Shared>,
}

/// What a mount with the shm transport shows besides.
#[derive(Clone, PartialEq, Debug)]
pub struct Shared {
    /// Slots of all queues.
    pub slots: u64,
    /// Requests that wait on lanes, for metadata and for bulk.
    pub lanes: Vec<u64>,
    /// Consumers woken by the program, a second.
    pub wake_rate: f64,
    /// Words on how it is mounted.
    pub about: String,
}

impl Interval {
    /// Between two looks.
    pub fn between(earlier: &Sample, later: &Sample) -> Self {
        let seconds = later.at.duration_since(earlier.at).as_secs_f64().max(1e-9);
        let requests = later.requests.clone() - &earlier.requests;
        let cpu = later.process.cpu.saturating_sub(earlier.process.cpu);
        let answered = |opcode: Option<Opcode>| {
            let of = |sample: &Sample| {
                let ops = sample.shared.as_ref().map(|shared| &shared.report.ops);
                let op = ops.and_then(|ops| ops.iter().find(|op| op.opcode == opcode));
                op.map_or(0, |op| op.totals.answered)
            };
            of(later).wrapping_sub(of(earlier))
        };
        let mut ops: Vec<Op> = requests
            .seen()
            .filter(|(_, counts)| counts.ended != 0)
            .map(|(opcode, counts)| {
                let rate = |count: u64| count as f64 / seconds;
                let quantile = |q| counts.latency.quantile(q).map(LatencyClass::ceiling_ns);
                Op {
                    name: stat::name(opcode),
                    rate: rate(counts.ended),
                    error_rate: rate(counts.failed),
                    answered_rate: rate(answered(opcode)),
                    mean_ns: counts.latency.mean_ns(),
                    p50_ns: quantile(0.5),
                    p99_ns: quantile(0.99),
                }
            })
            .collect();
        ops.sort_by(|one, other| {
            other
                .rate
                .total_cmp(&one.rate)
                .then(one.name.cmp(other.name))
        });
        Self {
            seconds,
            cpu_percent: cpu.as_secs_f64() / seconds * 100.0,
            resident: later.process.resident,
            threads: later.process.threads,
            ops,
            in_flight: in_flight(&later.requests),
            shared: later.shared.as_ref().map(|shared| {
                let report = &shared.report;
                let before = earlier
                    .shared
                    .as_ref()
                    .map_or(0, |before| before.report.wakes);
                Shared {
                    slots: u64::from(report.queues.0) * u64::from(report.queues.1),
                    lanes: shared.lanes.to_vec(),
                    wake_rate: report.wakes.wrapping_sub(before) as f64 / seconds,
                    about: format!(
                        "transport shm, engine {}, data {}, cache {}",
                        report.engine,
                        report.data,
                        report.cache()
                    ),
                }
            }),
        }
    }

    fn sum(&self, of: impl Fn(&Op) -> f64) -> f64 {
        self.ops.iter().map(of).sum()
    }

    /// As JSON; the schema is in docs/guide.md.
    pub fn to_json(&self, mountpoint: &Path) -> Value {
        let mut ops = Map::new();
        for op in &self.ops {
            let value = json!({
                "per_s": op.rate,
                "errors_per_s": op.error_rate,
                "answered_per_s": op.answered_rate,
                "mean_ns": op.mean_ns,
                "p50_ns": op.p50_ns,
                "p99_ns": op.p99_ns,
            });
            ops.insert(op.name.to_owned(), value);
        }
        let shared = self.shared.as_ref();
        json!({
            "mountpoint": mountpoint.display().to_string(),
            "seconds": self.seconds,
            "cpu_percent": self.cpu_percent,
            "resident_bytes": self.resident,
            "threads": self.threads,
            "requests_per_s": self.sum(|op| op.rate),
            "answered_per_s": self.sum(|op| op.answered_rate),
            "in_flight": self.in_flight,
            "slots": shared.map(|shared| shared.slots),
            "lanes": shared.map(|shared| &shared.lanes),
            "wakes_per_s": shared.map(|shared| shared.wake_rate),
            "ops": ops,
        })
    }
}

fn in_flight(requests: &Snapshot) -> u64 {
    let of = |(_, counts): (_, &crate::bpf::OpcodeCounts)| {
        // Those whose sending was not counted have an end all the same.
        counts
            .sent
            .saturating_sub(counts.ended.saturating_sub(counts.unmatched))
    };
    requests.seen().map(of).sum()
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.sum(|op| op.rate);
        write!(f, "  {rate:.0} requests/s, {} in flight", self.in_flight)?;
        if let Some(shared) = &self.shared {
            let answered = self.sum(|op| op.answered_rate);
            let share = if rate > 0.0 {
                answered / rate * 100.0
            } else {
                0.0
            };
            write!(
                f,
                " of {} slots, {share:.0} % answered in the kernel",
                shared.slots
            )?;
            let lanes: Vec<_> = shared.lanes.iter().map(u64::to_string).collect();
            write!(
                f,
                ", on lanes {}, {:.0} wakes/s",
                lanes.join("+"),
                shared.wake_rate
            )?;
        }
        writeln!(f)?;
        if let Some(shared) = &self.shared {
            writeln!(f, "  {}", shared.about)?;
        }
        writeln!(
            f,
            "  {:16} {:>10} {:>7} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "per s", "share", "mean µs", "p50 µs", "p99 µs", "in kernel", "errors/s"
        )?;
        for op in &self.ops {
            let us = |ns: Option<u64>| match ns {
                Some(ns) => format!("{:.1}", ns as f64 / 1e3),
                None => "-".to_owned(),
            };
            writeln!(
                f,
                "  {:16} {:>10.1} {:>6.1}% {:>10} {:>10} {:>10} {:>10.1} {:>10.1}",
                op.name,
                op.rate,
                op.rate / rate * 100.0,
                us(op.mean_ns),
                us(op.p50_ns),
                us(op.p99_ns),
                op.answered_rate,
                op.error_rate,
            )?;
        }
        Ok(())
    }
}
