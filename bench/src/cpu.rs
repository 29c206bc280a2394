//! CPU time and context switches of processes, thread by thread.
//!
//! `/proc/PID/task/TID/schedstat` counts nanoseconds on a CPU (Documentation/scheduler/
//! sched-stats.rst of the kernel); the ticks of `/proc/PID/stat` are 10 ms, too coarse for one
//! repetition. Threads that ended in between are lost to it, so the process-wide figures of
//! getrusage(2) serve for the application's side.

use anyhow::{Context, Result};
use rustix::process::Pid;
use std::{fs, ops::Sub, path::Path, time::Duration};

/// CPU time and context switches up to some point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU, in user space and in the kernel.
    pub cpu: Duration,
    /// Context switches, voluntary and not.
    pub switches: u64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

impl Usage {
    /// Of this process and the children it has waited for.
    pub fn of_application() -> Result<Self> {
        use nix::sys::resource::{UsageWho, getrusage};
        let mut sum = Self::default();
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who).context("getrusage")?;
            for time in [usage.user_time(), usage.system_time()] {
                sum.cpu += Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
            }
            let switches =
                usage.voluntary_context_switches() + usage.involuntary_context_switches();
            sum.switches += switches as u64;
        }
        Ok(sum)
    }

    /// Of a running process: all its threads, the kernel's io_uring workers and poll threads
    /// among them.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn of_process(pid: Pid) -> Result<Self> {
        let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
        let mut sum = Self::default();
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            // A thread may end between the listing and the reading.
            let path = task?.path();
            if let Some(thread) = Self::of_thread(&path) {
                sum.cpu += thread.cpu;
                sum.switches += thread.switches;
            }
        }
        Ok(sum)
    }

    fn of_thread(task: &Path) -> Option<Self> {
        let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
        let status = fs::read_to_string(task.join("status")).ok()?;
        Some(Self {
            cpu: Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?),
            switches: switches_in(&status),
        })
    }
}

fn switches_in(status: &str) -> u64 {
    status
        .lines()
        .filter(|line| line.contains("voluntary_ctxt_switches"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

/// Largest resident set of a process so far, in bytes (`VmHWM`).
///
/// # Errors
///
/// If the process is gone.
pub fn peak_memory(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kib: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("no VmHWM in {path}"))?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_switch_are_counted() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(switches_in(status), 12);
    }

    #[test]
    fn a_busy_loop_shows_in_its_own_usage() {
        let me = rustix::process::getpid();
        let before = Usage::of_process(me).unwrap();
        let mut x = 1u64;
        for i in 0..20_000_000u64 {
            x = std::hint::black_box(x.wrapping_mul(i | 1));
        }
        let used = Usage::of_process(me).unwrap() - before;
        assert!(used.cpu > Duration::ZERO, "{used:?} {x}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let nobody = Pid::from_raw(i32::MAX).unwrap();
        assert!(Usage::of_process(nobody).is_err());
        assert!(peak_memory(nobody).is_err());
    }
}
