//! What is noted of one repetition of a workload on a variant.

use crate::cpu::thread_time;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The quantiles kept of each repetition's latencies: enough for a curve down to the slowest one
/// in ten thousand.
pub const QUANTILES: [f64; 21] = [
    0.0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99,
    0.995, 0.999, 0.9999, 1.0,
];

/// Collects latencies and bytes while a workload runs.
#[derive(Debug)]
pub struct Recorder {
    latency_ns: Histogram<u64>,
    operations: u64,
    bytes: u64,
    excluded: Duration,
    took: Option<Duration>,
    app_used: Option<Duration>,
    not_ours: Duration,
    until: Option<Instant>,
    last: Instant,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            // Three significant digits from 1 ns to 1000 s.
            latency_ns: Histogram::new_with_bounds(1, 1_000_000_000_000, 3)
                .expect("the bounds are constants within the histogram's range"),
            operations: 0,
            bytes: 0,
            excluded: Duration::ZERO,
            took: None,
            app_used: None,
            not_ours: Duration::ZERO,
            until: None,
            last: Instant::now(),
        }
    }
}

impl Recorder {
    /// One whose repetition is to end when this much time is over; see [`goes_on`](Self::goes_on).
    pub fn within(budget: Duration) -> Self {
        Self {
            until: Some(Instant::now() + budget),
            ..Self::default()
        }
    }

    /// One for another thread of the same repetition.
    pub fn for_thread(&self) -> Self {
        Self {
            until: self.until,
            ..Self::default()
        }
    }

    /// Whether there is time left for another operation, by the end of the last one timed. The
    /// first operation always has its time.
    pub fn goes_on(&self) -> bool {
        self.operations == 0 || self.until.is_none_or(|until| self.last < until)
    }

    /// Time left, without end where there is no limit.
    pub fn left(&self) -> Duration {
        self.until.map_or(Duration::MAX, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    /// Times one operation.
    pub fn time<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = operation();
        self.last = Instant::now();
        self.record(self.last - start);
        result
    }

    /// Notes one operation that took this long.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Notes so many operations that each took this long.
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record_n(ns.max(1), count);
        self.operations += count;
    }

    /// Says how long the work took, where a program has measured that itself: the repetition's
    /// time by the clock is not used.
    pub fn took(&mut self, duration: Duration) {
        self.took = Some(duration);
    }

    /// Says how much CPU time the application has used, where a program has measured that itself.
    pub fn app_used(&mut self, cpu: Duration) {
        self.app_used = Some(cpu);
    }

    /// Takes CPU time off the application's: what only disturbs it is not it.
    pub fn not_ours(&mut self, cpu: Duration) {
        self.not_ours += cpu;
    }

    /// The application's CPU time, `counted` as the system has it.
    pub fn app_cpu(&self, counted: Duration) -> Duration {
        self.app_used
            .unwrap_or(counted)
            .saturating_sub(self.not_ours)
    }

    /// Notes payload bytes moved.
    pub fn moved(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Runs something that belongs to the set-up: its time is taken off the repetition's, its CPU
    /// time off the application's.
    pub fn aside<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (Instant::now(), thread_time());
        let result = work();
        self.not_ours += thread_time().saturating_sub(cpu);
        let took = start.elapsed();
        self.excluded += took;
        self.until = self.until.map(|until| until + took);
        result
    }

    /// Adds what another thread of the same repetition recorded.
    pub fn merge(&mut self, other: &Self) {
        self.latency_ns
            .add(&other.latency_ns)
            .expect("all recorders have the same bounds");
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.last = self.last.max(other.last);
    }

    /// Latencies in nanoseconds at each of [`QUANTILES`].
    pub fn latency_curve(&self) -> Vec<u64> {
        QUANTILES
            .iter()
            .map(|&q| self.latency_ns.value_at_quantile(q))
            .collect()
    }

    /// What came out, after a repetition of this length by the clock.
    pub fn finish(self, wall: Duration) -> Figures {
        let wall = self.took.unwrap_or(wall.saturating_sub(self.excluded));
        let quantile = |q| self.latency_ns.value_at_quantile(q);
        Figures {
            wall_ns: wall.as_nanos() as u64,
            operations: self.operations,
            bytes: self.bytes,
            p50_ns: quantile(0.50),
            p90_ns: quantile(0.90),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: self.latency_ns.max(),
            ..Figures::default()
        }
    }
}

/// One row of raw.csv: a repetition of a workload on a variant. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Time by the clock, without what was set aside.
    pub wall_ns: u64,
    /// Operations of the application (calls, or commands).
    pub operations: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Median latency of an operation.
    pub p50_ns: u64,
    /// 90 % of operations were no slower.
    pub p90_ns: u64,
    /// 99 % of operations were no slower.
    pub p99_ns: u64,
    /// 99.9 % of operations were no slower.
    pub p999_ns: u64,
    /// The slowest operation.
    pub max_ns: u64,
    /// CPU time of the application and its children.
    pub cpu_app_ns: u64,
    /// CPU time of the daemon's own threads. 0 on native.
    pub cpu_daemon_ns: u64,
    /// CPU time of the kernel's threads that work for the daemon (io_uring's).
    pub cpu_kernel_ns: u64,
    /// Context switches of application and daemon.
    pub switches: u64,
    /// Largest resident set of the daemon so far, in bytes.
    pub daemon_peak_bytes: u64,
}

impl Figures {
    /// Operations per second by the clock.
    pub fn ops_per_second(&self) -> f64 {
        self.operations as f64 / (self.wall_ns.max(1) as f64 / 1e9)
    }

    /// MiB of payload per second by the clock.
    pub fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / (self.wall_ns.max(1) as f64 / 1e9)
    }

    /// CPU seconds of application, daemon and the kernel's threads for it.
    pub fn cpu_seconds(&self) -> f64 {
        (self.cpu_app_ns + self.cpu_daemon_ns + self.cpu_kernel_ns) as f64 / 1e9
    }

    /// The daemon's part of [`cpu_seconds`](Self::cpu_seconds), with the kernel's threads for it.
    pub fn served_seconds(&self) -> f64 {
        (self.cpu_daemon_ns + self.cpu_kernel_ns) as f64 / 1e9
    }

    /// CPU microseconds per operation.
    pub fn cpu_us_per_op(&self) -> f64 {
        self.cpu_seconds() * 1e6 / self.operations.max(1) as f64
    }

    /// CPU seconds per GiB of payload; 0 where no payload moved.
    pub fn cpu_s_per_gib(&self) -> f64 {
        if self.bytes == 0 {
            return 0.0;
        }
        self.cpu_seconds() / (self.bytes as f64 / f64::from(1 << 30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_recorded() {
        let mut recorder = Recorder::default();
        for us in 1..=1000 {
            recorder.record(Duration::from_micros(us));
        }
        let figures = recorder.finish(Duration::from_secs(1));
        assert_eq!(figures.operations, 1000);
        assert!(
            (495_000..=505_000).contains(&figures.p50_ns),
            "{}",
            figures.p50_ns
        );
        assert!(
            (985_000..=995_000).contains(&figures.p99_ns),
            "{}",
            figures.p99_ns
        );
        assert!(
            (999_000..=1_001_000).contains(&figures.max_ns),
            "{}",
            figures.max_ns
        );
    }

    #[test]
    fn what_is_set_aside_does_not_count() {
        let mut recorder = Recorder::default();
        recorder.aside(|| std::thread::sleep(Duration::from_millis(20)));
        let figures = recorder.finish(Duration::from_millis(25));
        assert!(figures.wall_ns <= 5_000_000, "{}", figures.wall_ns);
    }

    #[test]
    fn rates_are_by_the_clock() {
        let figures = Figures {
            wall_ns: 500_000_000,
            operations: 100,
            bytes: 1 << 20,
            ..Figures::default()
        };
        assert!((figures.ops_per_second() - 200.0).abs() < 1e-9);
        assert!((figures.mib_per_second() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_repetition_ends_when_its_time_is_over_but_does_something() {
        let mut recorder = Recorder::within(Duration::ZERO);
        assert!(recorder.goes_on());
        recorder.time(|| ());
        assert!(!recorder.goes_on());
        let mut endless = Recorder::default();
        endless.time(|| ());
        assert!(endless.goes_on());
    }

    #[test]
    fn what_a_program_says_of_its_cpu_time_counts_less_what_disturbs_it() {
        let mut recorder = Recorder::default();
        let second = Duration::from_secs(1);
        recorder.not_ours(second);
        assert_eq!(recorder.app_cpu(3 * second), 2 * second);
        recorder.app_used(5 * second);
        assert_eq!(recorder.app_cpu(3 * second), 4 * second);
    }

    #[test]
    fn cpu_time_is_told_by_operation_and_by_gib() {
        let figures = Figures {
            operations: 4,
            bytes: 1 << 30,
            cpu_app_ns: 1_000,
            cpu_daemon_ns: 2_000,
            cpu_kernel_ns: 1_000,
            ..Figures::default()
        };
        assert!((figures.cpu_us_per_op() - 1.0).abs() < 1e-9);
        assert!((figures.cpu_s_per_gib() - 4e-6).abs() < 1e-12);
        assert_eq!(Figures::default().cpu_s_per_gib(), 0.0);
    }
}
