//! From repetitions to figures one can compare: medians, spread, ratios with intervals.

use crate::{
    record::{About, GroupAbout, Record, Row},
    recorder::Figures,
    stats::{bootstrap_interval, median, median_interval, paired, spread},
    workload::Measure,
};
use serde::{Deserialize, Serialize};

/// What the repetitions of one workload on one variant come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The group's name.
    pub group: String,
    /// The workload's name.
    pub workload: String,
    /// The variant's name.
    pub variant: String,
    /// Unit of `rate`: `ops/s`, `MiB/s` or `runs/s`.
    pub unit: String,
    /// Median rate.
    pub rate: f64,
    /// Repetitions that counted.
    pub rounds: usize,
    /// 95 % interval of `rate`, by order ([`median_interval`]).
    pub rate_interval: [f64; 2],
    /// Half of the repetitions' rates lie this close to the median, as a part of it (median
    /// absolute deviation).
    pub spread: f64,
    /// Rate over that of the group's first variant in the same round, median of the rounds; 1.0 on
    /// that variant.
    pub ratio: f64,
    /// 95 % interval of `ratio`, by order ([`median_interval`]).
    pub ratio_interval: [f64; 2],
    /// The same by a percentile bootstrap, which covers less than it says where rounds are few.
    pub ratio_bootstrap: [f64; 2],
    /// Median over repetitions of the median latency, microseconds.
    pub p50_us: f64,
    /// The same of the 90th percentile.
    pub p90_us: f64,
    /// The same of the 99th percentile.
    pub p99_us: f64,
    /// The same of the 99.9th percentile.
    pub p999_us: f64,
    /// The slowest operation of all repetitions, microseconds.
    pub max_us: f64,
    /// Median time of a repetition by the clock, seconds.
    pub wall_s: f64,
    /// Median CPU microseconds per operation: application, daemon and the kernel's threads for it.
    pub cpu_us_per_op: f64,
    /// Of these, the daemon's own threads.
    pub cpu_daemon_us_per_op: f64,
    /// Of these, the kernel's threads that work for the daemon.
    pub cpu_kernel_us_per_op: f64,
    /// Median CPU seconds per GiB of payload; 0 without payload.
    pub cpu_s_per_gib: f64,
    /// Median context switches per operation, of application and daemon.
    pub switches_per_op: f64,
    /// FUSE requests per operation; null where they were not counted.
    pub requests_per_op: Option<f64>,
    /// System calls of the daemon per request (each enters the kernel once); null where they were
    /// not counted.
    pub daemon_calls_per_request: Option<f64>,
    /// Part of the requests that kernel programs answered; null of mounts that cannot say so.
    pub answered: Option<f64>,
    /// Copies by a CPU of each byte delivered, by design; null where the design does not say.
    pub copies: Option<f64>,
    /// Largest resident set of the daemon, MiB.
    pub daemon_peak_mib: f64,
}

/// summary.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryFile {
    /// What is known of the run.
    #[serde(flatten)]
    pub about: About,
    /// The questions, answered.
    pub verdicts: Vec<crate::verdict::Verdict>,
    /// Every workload on every variant.
    pub results: Vec<Summary>,
}

/// Rates of one workload on one variant, in the order of repetitions.
pub fn rates(rows: &[Row], group: &str, workload: &str, variant: &str) -> Vec<f64> {
    rows.iter()
        .filter(|row| row.group == group && row.workload == workload && row.variant == variant)
        .map(|row| rate(row.measure, &row.figures))
        .collect()
}

/// Groups and workloads, in the order they first appear.
pub fn workloads(rows: &[Row]) -> Vec<(&str, &str)> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let name = (row.group.as_str(), row.workload.as_str());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Summarises every workload and variant, in the order they first appear; the first variant of a
/// workload is its baseline.
pub fn summarize(record: &Record) -> Vec<Summary> {
    let mut summaries = Vec::new();
    for (group, workload) in workloads(&record.rows) {
        let rows: Vec<&Row> = record
            .rows
            .iter()
            .filter(|row| row.group == group && row.workload == workload)
            .collect();
        let mut variants: Vec<&str> = Vec::new();
        for row in &rows {
            if !variants.contains(&row.variant.as_str()) {
                variants.push(&row.variant);
            }
        }
        let baseline = variants.first().copied().unwrap_or_default();
        summaries.extend(
            variants
                .iter()
                .map(|variant| one(record, &rows, variant, baseline)),
        );
    }
    summaries
}

fn one(record: &Record, rows: &[&Row], variant: &str, baseline: &str) -> Summary {
    let of = |name: &str| {
        rows.iter()
            .filter(|row| row.variant == name)
            .copied()
            .collect()
    };
    let (mine, base): (Vec<&Row>, Vec<&Row>) = (of(variant), of(baseline));
    let (group, workload, measure) = (&mine[0].group, &mine[0].workload, mine[0].measure);
    let rates_of = |rows: &[&Row]| -> Vec<f64> {
        rows.iter().map(|row| rate(measure, &row.figures)).collect()
    };
    let (rates, base_rates) = (rates_of(&mine), rates_of(&base));
    let ratios = paired(&rates, &base_rates);
    let each = |figure: &dyn Fn(&Figures) -> f64| -> Vec<f64> {
        mine.iter().map(|row| figure(&row.figures)).collect()
    };
    let middle = |figure: &dyn Fn(&Figures) -> f64| median(&each(figure));
    let most = |figure: &dyn Fn(&Figures) -> f64| each(figure).into_iter().fold(0.0, f64::max);
    let us_per_op =
        |ns: fn(&Figures) -> u64| middle(&|f| ns(f) as f64 / 1e3 / f.operations.max(1) as f64);
    let counts = record
        .counts
        .iter()
        .find(|row| &row.group == group && &row.workload == workload && row.variant == variant);
    let counts = counts.map(|row| row.counts).unwrap_or_default();
    let requests = counts.requests.filter(|&requests| requests > 0);
    Summary {
        group: group.clone(),
        workload: workload.clone(),
        variant: variant.into(),
        unit: measure.unit().into(),
        rate: median(&rates),
        rounds: rates.len(),
        rate_interval: median_interval(&rates),
        spread: spread(&rates),
        ratio: median(&ratios),
        ratio_interval: median_interval(&ratios),
        ratio_bootstrap: bootstrap_interval(&ratios),
        p50_us: middle(&|f| f.p50_ns as f64 / 1e3),
        p90_us: middle(&|f| f.p90_ns as f64 / 1e3),
        p99_us: middle(&|f| f.p99_ns as f64 / 1e3),
        p999_us: middle(&|f| f.p999_ns as f64 / 1e3),
        max_us: most(&|f| f.max_ns as f64 / 1e3),
        wall_s: middle(&|f| f.wall_ns as f64 / 1e9),
        cpu_us_per_op: middle(&Figures::cpu_us_per_op),
        cpu_daemon_us_per_op: us_per_op(|f| f.cpu_daemon_ns),
        cpu_kernel_us_per_op: us_per_op(|f| f.cpu_kernel_ns),
        cpu_s_per_gib: middle(&Figures::cpu_s_per_gib),
        switches_per_op: middle(&|f| f.switches as f64 / f.operations.max(1) as f64),
        requests_per_op: counts
            .requests
            .map(|requests| requests as f64 / counts.operations.max(1) as f64),
        daemon_calls_per_request: counts
            .daemon_calls
            .zip(requests)
            .map(|(calls, requests)| calls as f64 / requests as f64),
        answered: counts
            .answered
            .zip(requests)
            .map(|(answered, requests)| (answered as f64 / requests as f64).min(1.0)),
        copies: copies(&record.about.groups, group, workload, variant),
        daemon_peak_mib: most(&|f| f.daemon_peak_bytes as f64 / f64::from(1 << 20)),
    }
}

fn copies(groups: &[GroupAbout], group: &str, workload: &str, variant: &str) -> Option<f64> {
    let group = groups.iter().find(|about| about.name == group)?;
    group.copies.get(workload)?.get(variant).copied()
}

/// What a repetition is compared by: operations, MiB or runs per second.
pub fn rate(measure: Measure, figures: &Figures) -> f64 {
    match measure {
        Measure::Operations | Measure::Time => figures.ops_per_second(),
        Measure::Bytes => figures.mib_per_second(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn ratios_are_to_the_first_variant_of_the_workload() {
        let summaries = summarize(&record());
        let classic = summaries
            .iter()
            .find(|summary| summary.workload == "stat" && summary.variant == "classic");
        let classic = classic.unwrap();
        assert!((classic.ratio - 0.1).abs() < 0.02, "{classic:?}");
        let [low, high] = classic.ratio_interval;
        assert!(low <= classic.ratio && classic.ratio <= high);
        assert_eq!(summaries[0].ratio_interval, [1.0, 1.0]);
    }

    #[test]
    fn what_was_counted_is_told_by_operation_and_request() {
        let summaries = summarize(&record());
        let of = |variant: &str| {
            let mine =
                |summary: &&Summary| summary.workload == "stat" && summary.variant == variant;
            summaries.iter().find(mine).unwrap()
        };
        assert_eq!(of("classic").requests_per_op, Some(2.0));
        assert_eq!(of("classic").daemon_calls_per_request, Some(2.0));
        assert_eq!(of("native").requests_per_op, None);
        assert_eq!(of("shm").answered, Some(0.5));
    }
}
