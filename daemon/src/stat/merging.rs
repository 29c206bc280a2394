//! What `shmfuse stat` shows of merging.

use crate::bpf::observe::Observation;
use serde_json::{Value, json};
use std::fmt;

/// Adjacent READs and WRITEs that were served by one lower read or write.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Merging {
    /// Whether any are.
    pub on: bool,
    /// Of READs.
    pub reads: Merged,
    /// Of WRITEs.
    pub writes: Merged,
}

/// Lower operations that served several requests.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Merged {
    /// How many.
    pub merges: u64,
    /// The requests that they served.
    pub requests: u64,
}

impl Merged {
    /// Requests by operation; 0 without one.
    pub fn width(self) -> f64 {
        match self.merges {
            0 => 0.0,
            merges => self.requests as f64 / merges as f64,
        }
    }

    fn to_json(self) -> Value {
        json!({ "merges": self.merges, "requests": self.requests, "width": self.width() })
    }
}

impl fmt::Display for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} by {}, width {:.1}",
            self.requests,
            self.merges,
            self.width()
        )
    }
}

impl Merging {
    pub(super) fn of(observation: &Observation) -> Self {
        let control = observation.control.iter().next();
        let mut merging = Self {
            on: control.is_some_and(|page| page.merges.get() != 0),
            ..Self::default()
        };
        for queue in observation.queues.iter() {
            let daemon = &queue.daemon;
            // Operations before what they served: then they do not seem narrower than they were.
            merging.reads.merges += daemon.reads_joint.read();
            merging.reads.requests += daemon.reads_merged.read();
            merging.writes.merges += daemon.writes_joint.read();
            merging.writes.requests += daemon.writes_merged.read();
        }
        merging
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "on": self.on,
            "reads": self.reads.to_json(),
            "writes": self.writes.to_json(),
        })
    }
}

impl fmt::Display for Merging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.on {
            true => write!(f, "s5 on: reads {}; writes {}", self.reads, self.writes),
            false => write!(f, "s5 off"),
        }
    }
}
