//! What the machine itself charges: the floor under every transport.
//!
//! A request that leaves the application's thread costs at least a hand-over there and back, and
//! each copy of a payload costs memory bandwidth. Both are measured in the run they are compared
//! with.

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    hint::black_box,
    io::{Read, Write, pipe},
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

/// Hand-overs per measurement; a few where only the measuring is tested.
const ROUNDS: u32 = if cfg!(test) { 50 } else { 5000 };
/// Bytes per copy: larger than the usual last-level cache.
const COPY_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };

/// The floor, medians of five.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// A system call that does nothing (getppid(2)), microseconds.
    pub system_call_us: f64,
    /// There and back between two threads on one CPU through two pipes, microseconds.
    pub pipe_same_cpu_us: f64,
    /// The same between two CPUs; `None` on a machine with one.
    pub pipe_other_cpu_us: Option<f64>,
    /// There and back between two threads on one CPU through a futex, microseconds.
    pub futex_same_cpu_us: f64,
    /// The same between two CPUs.
    pub futex_other_cpu_us: Option<f64>,
    /// Copying memory, GiB per second.
    pub memcpy_gib_per_s: f64,
}

impl Floor {
    /// Measures it; takes about a second.
    ///
    /// # Errors
    ///
    /// If threads cannot be pinned.
    pub fn measure() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
        let cpus: Vec<usize> = (0..CpuSet::count())
            .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
            .collect();
        let first = *cpus.first().context("no CPU to run on")?;
        let second = cpus.get(1).copied();
        let other = |measure: fn(usize, usize) -> Result<f64>| {
            second
                .map(|second| median(|| measure(first, second)))
                .transpose()
        };
        Ok(Self {
            system_call_us: median(system_call)?,
            pipe_same_cpu_us: median(|| pipe_ping_pong(first, first))?,
            pipe_other_cpu_us: other(pipe_ping_pong)?,
            futex_same_cpu_us: median(|| futex_ping_pong(first, first))?,
            futex_other_cpu_us: other(futex_ping_pong)?,
            memcpy_gib_per_s: median(memcpy)?,
        })
    }

    /// Name and value of each, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let us = |value: Option<f64>| value.map_or("-".into(), |us| format!("{us:.1} µs"));
        vec![
            ("system call", us(Some(self.system_call_us))),
            ("pipe ping-pong, one CPU", us(Some(self.pipe_same_cpu_us))),
            ("pipe ping-pong, two CPUs", us(self.pipe_other_cpu_us)),
            ("futex ping-pong, one CPU", us(Some(self.futex_same_cpu_us))),
            ("futex ping-pong, two CPUs", us(self.futex_other_cpu_us)),
            ("memcpy", format!("{:.1} GiB/s", self.memcpy_gib_per_s)),
        ]
    }
}

fn median(mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let values: Vec<f64> = (0..5).map(|_| measure()).collect::<Result<_>>()?;
    Ok(crate::stats::median(&values))
}

fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).context("no such CPU")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to CPU {cpu}"))
}

fn per_round_us(start: Instant, rounds: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn system_call() -> Result<f64> {
    let start = Instant::now();
    for _ in 0..100 * ROUNDS {
        black_box(rustix::process::getppid());
    }
    Ok(per_round_us(start, 100 * ROUNDS))
}

/// Runs `echo` and `measure` on threads of their own, pinned, and returns what was measured.
fn on_two_threads(
    (echo_cpu, echo): (usize, impl FnOnce() -> Result<()> + Send),
    (measure_cpu, measure): (usize, impl FnOnce() -> Result<f64> + Send),
) -> Result<f64> {
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || pin(echo_cpu).and_then(|()| echo()));
        let measure = scope.spawn(move || pin(measure_cpu).and_then(|()| measure()));
        let us = measure.join().expect("the measuring thread does not panic");
        echo.join().expect("the echoing thread does not panic")?;
        us
    })
}

fn pipe_ping_pong(here: usize, there: usize) -> Result<f64> {
    let (mut ping_out, mut ping_in) = pipe()?;
    let (mut pong_out, mut pong_in) = pipe()?;
    let echo = move || {
        let mut byte = [0];
        // Ends when the other side's end is dropped.
        while ping_out.read(&mut byte)? == 1 {
            pong_in.write_all(&byte)?;
        }
        Ok(())
    };
    let measure = move || {
        let mut byte = [7];
        let start = Instant::now();
        for _ in 0..ROUNDS {
            ping_in.write_all(&byte)?;
            pong_out.read_exact(&mut byte)?;
        }
        Ok(per_round_us(start, ROUNDS))
    };
    on_two_threads((there, echo), (here, measure))
}

fn futex_ping_pong(here: usize, there: usize) -> Result<f64> {
    use rustix::thread::futex;
    let turn = AtomicU32::new(0);
    let pass = |mine: u32| {
        while turn.load(Ordering::Acquire) != mine {
            let _ = futex::wait(&turn, futex::Flags::PRIVATE, 1 - mine, None);
        }
        turn.store(1 - mine, Ordering::Release);
        let _ = futex::wake(&turn, futex::Flags::PRIVATE, 1);
    };
    let echo = || {
        (0..ROUNDS).for_each(|_| pass(1));
        Ok(())
    };
    let measure = || {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| pass(0));
        Ok(per_round_us(start, ROUNDS))
    };
    on_two_threads((there, echo), (here, measure))
}

fn memcpy() -> Result<f64> {
    let from = vec![1u8; COPY_BYTES];
    let mut to = vec![2u8; COPY_BYTES];
    let start = Instant::now();
    to.copy_from_slice(black_box(&from));
    black_box(&to);
    Ok(COPY_BYTES as f64 / f64::from(1 << 30) / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_floor_is_above_zero_and_has_a_line() {
        let floor = Floor::measure().unwrap();
        assert!(floor.system_call_us > 0.0 && floor.pipe_same_cpu_us > floor.system_call_us);
        assert!(floor.memcpy_gib_per_s > 0.0);
        assert_eq!(floor.lines().len(), 6);
    }
}
