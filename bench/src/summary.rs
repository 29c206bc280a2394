//! From repetitions to figures one can compare: medians, spread, ratios with intervals.

use crate::{recorder::Figures, run::Row, workload::Measure};
use serde::Serialize;

/// Resamples of a bootstrap: enough that the interval's ends move by less than they are rounded.
const RESAMPLES: usize = 2000;

/// What the repetitions of one workload on one variant come to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The workload's name.
    pub workload: String,
    /// The variant's name.
    pub variant: String,
    /// Unit of `rate`: `ops/s`, `MiB/s` or `runs/s`.
    pub unit: &'static str,
    /// Median rate.
    pub rate: f64,
    /// Half of the repetitions' rates lie this close to the median, as a part of it (median
    /// absolute deviation).
    pub spread: f64,
    /// Median rate over the baseline's, 1.0 on the baseline.
    pub ratio: f64,
    /// 95 % bootstrap interval of `ratio`.
    pub ratio_interval: [f64; 2],
    /// Median over repetitions of the median latency, microseconds.
    pub p50_us: f64,
    /// Median over repetitions of the 99th percentile of latency, microseconds.
    pub p99_us: f64,
    /// Median time of a repetition by the clock, seconds.
    pub wall_s: f64,
    /// Median CPU seconds of application and daemon per repetition.
    pub cpu_s: f64,
    /// The daemon's part of `cpu_s`.
    pub cpu_daemon_s: f64,
    /// Median context switches per operation.
    pub switches_per_op: f64,
    /// Largest resident set of the daemon, MiB.
    pub daemon_peak_mib: f64,
}

/// Summarises every workload and variant, in the order they first appear; the first variant of a
/// workload is its baseline.
pub fn summarize(rows: &[Row]) -> Vec<Summary> {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let key = (row.workload.as_str(), row.variant.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.iter()
        .map(|&(workload, variant)| {
            let baseline = keys
                .iter()
                .find(|key| key.0 == workload)
                .map_or(variant, |key| key.1);
            one(rows, workload, variant, baseline)
        })
        .collect()
}

fn one(rows: &[Row], workload: &str, variant: &str, baseline: &str) -> Summary {
    let of = |name: &str| -> Vec<&Row> {
        rows.iter()
            .filter(|row| row.workload == workload && row.variant == name)
            .collect()
    };
    let (mine, base) = (of(variant), of(baseline));
    let measure = mine[0].measure;
    let rates: Vec<f64> = mine.iter().map(|row| rate(measure, &row.figures)).collect();
    let base_rates: Vec<f64> = base.iter().map(|row| rate(measure, &row.figures)).collect();
    let median_of = |figure: fn(&Figures) -> f64| {
        median(
            &mine
                .iter()
                .map(|row| figure(&row.figures))
                .collect::<Vec<_>>(),
        )
    };
    let middle = median(&rates);
    let deviations: Vec<f64> = rates.iter().map(|rate| (rate - middle).abs()).collect();
    Summary {
        workload: workload.into(),
        variant: variant.into(),
        unit: match measure {
            Measure::Operations => "ops/s",
            Measure::Bytes => "MiB/s",
            Measure::Time => "runs/s",
        },
        rate: middle,
        spread: median(&deviations) / middle,
        ratio: middle / median(&base_rates),
        ratio_interval: if variant == baseline {
            [1.0; 2]
        } else {
            interval(&rates, &base_rates)
        },
        p50_us: median_of(|f| f.p50_ns as f64 / 1e3),
        p99_us: median_of(|f| f.p99_ns as f64 / 1e3),
        wall_s: median_of(|f| f.wall_ns as f64 / 1e9),
        cpu_s: median_of(Figures::cpu_seconds),
        cpu_daemon_s: median_of(|f| f.cpu_daemon_ns as f64 / 1e9),
        switches_per_op: median_of(|f| f.switches as f64 / f.operations.max(1) as f64),
        daemon_peak_mib: mine
            .iter()
            .map(|row| row.figures.daemon_peak_bytes as f64 / f64::from(1 << 20))
            .fold(0.0, f64::max),
    }
}

/// What a repetition is compared by: operations, MiB or runs per second.
pub fn rate(measure: Measure, figures: &Figures) -> f64 {
    match measure {
        Measure::Operations | Measure::Time => figures.ops_per_second(),
        Measure::Bytes => figures.mib_per_second(),
    }
}

/// The middle of the values, the mean of the two middle ones if their number is even; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[half],
        _ => values[half - 1].midpoint(values[half]),
    }
}

/// 95 % percentile-bootstrap interval (Efron, 1979) of the ratio of two medians. Deterministic:
/// the same rows give the same interval.
pub fn interval(rates: &[f64], base: &[f64]) -> [f64; 2] {
    let mut word = 0x2545_f491_4f6c_dd1du64;
    let mut resample = |values: &[f64]| {
        let drawn: Vec<f64> = values
            .iter()
            .map(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                values[(word % values.len() as u64) as usize]
            })
            .collect();
        median(&drawn)
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| resample(rates) / resample(base))
        .collect();
    ratios.sort_by(f64::total_cmp);
    [
        ratios[RESAMPLES * 25 / 1000],
        ratios[RESAMPLES * 975 / 1000 - 1],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: &str, repetition: usize, ops: u64) -> Row {
        let figures = Figures {
            wall_ns: 1_000_000_000,
            operations: ops,
            ..Figures::default()
        };
        Row {
            workload: "w".into(),
            measure: Measure::Operations,
            variant: variant.into(),
            repetition,
            figures,
            latency_curve_ns: Vec::new(),
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_interval_holds_the_ratio_and_widens_with_the_noise() {
        let quiet = interval(&[200.0, 201.0, 199.0, 200.0, 202.0], &[100.0; 5]);
        let noisy = interval(&[120.0, 280.0, 199.0, 200.0, 310.0], &[100.0; 5]);
        assert!(quiet[0] <= 2.0 && 2.0 <= quiet[1], "{quiet:?}");
        assert!(
            noisy[1] - noisy[0] > quiet[1] - quiet[0],
            "{noisy:?} {quiet:?}"
        );
    }

    #[test]
    fn ratios_are_to_the_first_variant() {
        let rows: Vec<Row> = (0..3)
            .flat_map(|n| [row("native", n, 1000), row("classic", n, 100)])
            .collect();
        let summary = summarize(&rows);
        assert_eq!(summary.len(), 2);
        assert_eq!(
            (summary[0].ratio, summary[0].ratio_interval),
            (1.0, [1.0, 1.0])
        );
        assert!((summary[1].ratio - 0.1).abs() < 1e-9);
    }
}
