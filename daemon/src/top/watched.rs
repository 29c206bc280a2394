//! A mount, and where its numbers come from.
//!
//! A mount with the shm transport counts by itself, in maps that are looked into from outside. For any other
//! the counting programs are loaded, and go when the look is over.

use crate::{
    bpf::{Programs, Snapshot, observe::Observation},
    cli::target,
    error::Result,
    mount::table::Mount,
    stat::Report,
};
use rustix::process::Pid;
use std::{
    fs,
    time::{Duration, Instant},
};
use transport::layout::LANES_PER_QUEUE;

/// A mount that is looked at again and again.
#[derive(Debug)]
pub struct Watched {
    /// Which.
    pub mount: Mount,
    /// The daemon that serves it.
    pub daemon: Pid,
    source: Source,
}

enum Source {
    Shared(Box<Observation>),
    Loaded(Box<Programs>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared",
            Self::Loaded(_) => "Loaded",
        })
    }
}

impl Watched {
    /// Begins to look at a mount.
    ///
    /// # Errors
    ///
    /// Its daemon is gone, or this user may not look.
    pub fn start(mount: Mount) -> Result<Self> {
        let daemon = target::daemon(&mount)?.pid();
        Self::of(mount, daemon)
    }

    /// The same, of a daemon that is known.
    ///
    /// # Errors
    ///
    /// This user may not look.
    pub fn of(mount: Mount, daemon: Pid) -> Result<Self> {
        let source = match Observation::find(daemon)? {
            Some(observation) => Source::Shared(Box::new(observation)),
            None => {
                let mut programs = Programs::load()?;
                programs.watch(mount.device)?;
                Source::Loaded(Box::new(programs))
            }
        };
        Ok(Self {
            mount,
            daemon,
            source,
        })
    }

    /// Looks at it. None if its daemon has ended.
    pub fn sample(&self) -> Option<Sample> {
        let process = Process::of(self.daemon)?;
        let (requests, shared) = match &self.source {
            Source::Loaded(programs) => (programs.counters().snapshot(), None),
            Source::Shared(observation) => {
                let shared = Shared::of(observation);
                (shared.report.requests().clone(), Some(shared))
            }
        };
        Some(Sample {
            at: Instant::now(),
            process,
            requests,
            shared,
        })
    }
}

/// A mount at one moment.
#[derive(Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The daemon's process.
    pub process: Process,
    /// Requests as the kernel sent and ended them, since counting began.
    pub requests: Snapshot,
    /// What a mount with the shm transport counts.
    pub shared: Option<Shared>,
}

/// What a mount with the shm transport shows of itself.
#[derive(Debug)]
pub struct Shared {
    /// Its counters.
    pub report: Report,
    /// Requests that wait on each kind of lane, for metadata and for bulk.
    pub lanes: [u64; LANES_PER_QUEUE],
}

impl Shared {
    fn of(observation: &Observation) -> Self {
        let mut lanes = [0; LANES_PER_QUEUE];
        for (index, lane) in observation.lanes.iter().enumerate() {
            // The head first: so no request seems to be taken before it was there.
            let head = lane.head.0.observe();
            let waiting = lane.tail.0.observe().0.wrapping_sub(head.0);
            lanes[index % LANES_PER_QUEUE] += u64::from(waiting);
        }
        Self {
            report: Report::of(observation),
            lanes,
        }
    }
}

/// What a process has used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Threads it has.
    pub threads: u64,
}

impl Process {
    /// Of a process; none if it has ended.
    fn of(pid: Pid) -> Option<Self> {
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        let ticks = rustix::param::clock_ticks_per_second();
        let page = rustix::param::page_size() as u64;
        Self::parse(&fs::read_to_string(path).ok()?, ticks, page)
    }

    /// proc_pid_stat(5); the name, in brackets, may hold anything.
    fn parse(stat: &str, ticks: u64, page: u64) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        // The first of these fields is the third of the file.
        let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return None;
        }
        Some(Self {
            cpu: Duration::from_secs_f64((field(14)? + field(15)?) as f64 / ticks as f64),
            threads: field(20)?,
            resident: field(24)? * page,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 5 0 100 9999 3 0 0";
        let process = Process::parse(stat, 100, 4096).unwrap();
        assert_eq!(process.cpu, Duration::from_secs(2));
        assert_eq!((process.threads, process.resident), (5, 3 * 4096));
        assert_eq!(Process::parse(&stat.replace(" S ", " Z "), 100, 4096), None);
        assert_eq!(Process::parse("", 100, 4096), None);
    }

    #[test]
    fn this_process_is_there() {
        let process = Process::of(rustix::process::getpid()).unwrap();
        assert!(process.threads >= 1 && process.resident > 0);
    }
}
