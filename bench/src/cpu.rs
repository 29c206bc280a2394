//! CPU time and context switches of processes, thread by thread, and of the machine.
//!
//! `/proc/PID/task/TID/schedstat` counts nanoseconds on a CPU (Documentation/scheduler/
//! sched-stats.rst of the kernel); the ticks of `/proc/PID/stat` are 10 ms, too coarse for one
//! repetition. Threads that ended in between are lost to it, so the process-wide figures of
//! getrusage(2) serve for the application's side.

use anyhow::{Context, Result};
use rustix::{
    process::Pid,
    time::{ClockId, clock_gettime},
};
use std::{
    fs,
    ops::{AddAssign, Sub},
    path::Path,
    time::Duration,
};

/// CPU time and context switches up to some point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU, in user space and in the kernel.
    pub cpu: Duration,
    /// Context switches, voluntary and not.
    pub switches: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.switches += other.switches;
    }
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

    fn of_thread(task: &Path) -> Option<Self> {
        let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
        let status = fs::read_to_string(task.join("status")).ok()?;
        Some(Self {
            cpu: Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?),
            switches: switches_in(&status),
        })
    }
}

/// What a daemon has used up to some point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Its own threads.
    pub threads: Usage,
    /// The threads that the kernel runs for it: io_uring's poll threads and workers.
    pub kernel: Usage,
}

impl Sub for Served {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            threads: self.threads - earlier.threads,
            kernel: self.kernel - earlier.kernel,
        }
    }
}

impl Served {
    /// Of a running process.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn by(pid: Pid) -> Result<Self> {
        let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
        let mut sum = Self::default();
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            // A thread may end between the listing and the reading.
            let path = task?.path();
            if let Some(thread) = Usage::of_thread(&path) {
                let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
                *(if is_kernel_s(&name) {
                    &mut sum.kernel
                } else {
                    &mut sum.threads
                }) += thread;
            }
        }
        Ok(sum)
    }
}

/// Whether a thread of a process is one that io_uring made: `iou-sqp-PID` polls
/// (io_uring/sqpoll.c), `iou-wrk-PID` works (io_uring/io-wq.c).
fn is_kernel_s(name: &str) -> bool {
    name.starts_with("iou-sqp-") || name.starts_with("iou-wrk-")
}

/// The machine's time up to some point, in seconds, from the first line of /proc/stat (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// All CPUs busy: user, nice, system, irq and softirq.
    pub busy_s: f64,
    /// All CPUs, idle or not.
    pub total_s: f64,
    /// Taken by the hypervisor for others.
    pub stolen_s: f64,
}

impl Machine {
    /// Now; zero where there is no /proc.
    pub fn now() -> Self {
        Self::parsed(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    fn parsed(stat: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal, in USER_HZ, which is 100 on Linux.
        let ticks: Vec<f64> = stat
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(|tick| Some(tick.parse::<f64>().ok()? / 100.0))
            .collect::<Option<_>>()?;
        let [user, nice, system, _, _, irq, softirq, steal] = ticks[..] else {
            return None;
        };
        Some(Self {
            busy_s: user + nice + system + irq + softirq,
            total_s: ticks.iter().sum(),
            stolen_s: steal,
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

/// CPU time of the calling thread so far.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
        let before = Served::by(me).unwrap();
        let mut x = 1u64;
        for i in 0..20_000_000u64 {
            x = std::hint::black_box(x.wrapping_mul(i | 1));
        }
        let used = Served::by(me).unwrap() - before;
        assert!(used.threads.cpu > Duration::ZERO, "{used:?} {x}");
        assert_eq!(used.kernel, Usage::default());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let nobody = Pid::from_raw(i32::MAX).unwrap();
        assert!(Served::by(nobody).is_err());
        assert!(peak_memory(nobody).is_err());
    }

    #[test]
    fn io_uring_s_threads_are_the_kernel_s() {
        assert!(is_kernel_s("iou-sqp-123\n") && is_kernel_s("iou-wrk-123"));
        assert!(!is_kernel_s("shmfuse"));
    }

    #[test]
    fn the_machine_s_time_is_in_seconds() {
        let machine = Machine::parsed("cpu 100 0 100 700 0 0 0 100 0 0\ncpu0 1 2").unwrap();
        assert_eq!(machine.busy_s, 2.0);
        assert_eq!(machine.total_s, 10.0);
        assert_eq!(machine.stolen_s, 1.0);
        assert_eq!(Machine::parsed(""), None);
    }
}
