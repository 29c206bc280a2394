//! What a comparison is made for: each row beside native, the best fixed setting and libfuse's best,
//! and the goals that are met or missed by them.

use crate::{
    comparison::{AUTO, CELLS, FIXED, LANES, MADE, MIX, NO_OPEN, OPENED, OWN_LOCKS},
    record::{Record, Row},
    report::{interval, ratio, significant},
    stats::{median, median_interval, paired},
    summary::rates,
    workload::lanes::Lanes,
};
use std::fmt::Write as _;

/// A ratio over rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Median of the rounds' ratios.
    pub median: f64,
    /// 95 % interval of it, by order.
    pub interval: [f64; 2],
}

impl Ratio {
    fn of(values: &[f64], base: &[f64]) -> Option<Self> {
        let ratios = paired(values, base);
        (!ratios.is_empty()).then(|| Self {
            median: median(&ratios),
            interval: median_interval(&ratios),
        })
    }

    fn text(&self) -> String {
        format!("{} ({})", ratio(self.median), interval(self.interval))
    }
}

/// A row of the comparison.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    rows: &'a [Row],
    /// In which group.
    pub group: &'a str,
    /// Which workload.
    pub workload: &'a str,
    unit: &'static str,
    /// The fastest peer, by its median.
    pub peer: Option<&'a str>,
    /// The fastest of [`FIXED`], by its median.
    pub fixed: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// Whether a run's group is one of a comparison's.
    fn is_about(group: &str) -> bool {
        group.starts_with(CELLS) || group.starts_with(MIX)
    }

    /// All rows of a comparison, in the order of the plan.
    pub fn all(record: &'a Record) -> Vec<Self> {
        let rows = record.rows.as_slice();
        let mut lines: Vec<Self> = Vec::new();
        for row in rows.iter().filter(|row| Self::is_about(&row.group)) {
            let known = |line: &Self| line.group == row.group && line.workload == row.workload;
            if lines.iter().any(known) {
                continue;
            }
            let best = |names: &mut dyn Iterator<Item = &'a str>| {
                names
                    .map(|name| (name, median(&rates(rows, &row.group, &row.workload, name))))
                    .filter(|(_, rate)| *rate > 0.0)
                    .max_by(|a, b| a.1.total_cmp(&b.1))
                    .map(|(name, _)| name)
            };
            lines.push(Self {
                rows,
                group: &row.group,
                workload: &row.workload,
                unit: row.measure.unit(),
                peer: best(&mut record.about.peers.iter().map(String::as_str)),
                fixed: best(&mut FIXED.into_iter()),
            });
        }
        lines
    }

    fn rates(&self, variant: &str) -> Vec<f64> {
        rates(self.rows, self.group, self.workload, variant)
    }

    /// The rate of one variant over that of another, where both have run.
    pub fn ratio(&self, variant: &str, against: &str) -> Option<Ratio> {
        Ratio::of(&self.rates(variant), &self.rates(against))
    }

    fn place(&self) -> &str {
        self.group
            .split_once(", ")
            .map_or(self.group, |(_, place)| place)
    }

    fn is_mix(&self) -> bool {
        self.group.starts_with(MIX)
    }
}

/// What is to hold on some rows.
struct Goal {
    text: &'static str,
    /// The least ratio that meets it.
    least: f64,
    /// Whether a row is meant, and the ratio that counts there.
    ratio: fn(&Line<'_>) -> Option<Ratio>,
}

fn is_stream(line: &Line<'_>) -> bool {
    let large = line.workload.contains(" 64K ") || line.workload.contains(" 1M ");
    line.workload.starts_with("sequential") && large && !line.is_mix()
}

const GOALS: [Goal; 9] = [
    Goal {
        text: "auto: streams of 64 KiB and 1 MiB a call at least 0.95 of native",
        least: 0.95,
        ratio: |line| is_stream(line).then(|| line.ratio(AUTO, "native"))?,
    },
    Goal {
        text: "passthrough: the same",
        least: 0.95,
        ratio: |line| is_stream(line).then(|| line.ratio(FIXED[0], "native"))?,
    },
    Goal {
        text: "sequential buffered writes of 4 KiB at least 0.9 of native",
        least: 0.9,
        ratio: |line| {
            let meant = line.workload == "sequential write 4K x1";
            meant.then(|| line.ratio(AUTO, "native"))?
        },
    },
    Goal {
        text: "open+read+close, warm, coherent, without OPEN: at least 0.5 of native",
        least: 0.5,
        ratio: |line| {
            let meant = line.workload == format!("open+read+close of {OPENED}");
            meant.then(|| line.ratio(NO_OPEN, "native"))?
        },
    },
    Goal {
        text: "the same by default",
        least: 0.5,
        ratio: |line| {
            let meant = line.workload == format!("open+read+close of {OPENED}");
            meant.then(|| line.ratio(AUTO, "native"))?
        },
    },
    Goal {
        text: "create+write+close+unlink at most 0.4 of the best peer's time: rate at least 2.5",
        least: 2.5,
        ratio: |line| {
            let meant = line.workload == format!("create+write+close+unlink of {MADE}");
            meant.then(|| line.ratio(AUTO, line.peer?))?
        },
    },
    Goal {
        text: "the same with the mount's own locks (~locks=mount), as libfuse keeps them",
        least: 2.5,
        ratio: |line| {
            let meant = line.workload == format!("create+write+close+unlink of {MADE}");
            meant.then(|| line.ratio(OWN_LOCKS, line.peer?))?
        },
    },
    Goal {
        text: "auto within 5 % of the best fixed setting on each part of the mix, or better",
        least: 0.95,
        ratio: |line| line.is_mix().then(|| line.ratio(AUTO, line.fixed?))?,
    },
    Goal {
        text: "auto never worse than 0.95 of libfuse's best",
        least: 0.95,
        ratio: |line| line.ratio(AUTO, line.peer?),
    },
];

/// The result of a comparison as Markdown: goals, lanes, and a line a row. None of a run that is no
/// comparison.
pub fn markdown(record: &Record) -> Option<String> {
    let lines = Line::all(record);
    let lanes = lanes(record);
    if lines.is_empty() && lanes.is_none() {
        return None;
    }
    let mut text = String::new();
    if !lines.is_empty() {
        write_goals(&mut text, &lines);
    }
    text.push_str(&lanes.unwrap_or_default());
    if !lines.is_empty() {
        write_lines(&mut text, &lines);
    }
    Some(text)
}

/// Met is what the median reaches; what only the interval reaches is not shown; the rest is missed.
fn write_goals(text: &mut String, lines: &[Line<'_>]) {
    text.push_str("### Goals\n\n| goal | rows | met | not shown | missed |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    let mut missed = String::new();
    for goal in &GOALS {
        let measured = lines
            .iter()
            .filter_map(|line| Some((line, (goal.ratio)(line)?)));
        let measured: Vec<(&Line<'_>, Ratio)> = measured.collect();
        let met = |ratio: &Ratio| ratio.median >= goal.least;
        let open = |ratio: &Ratio| !met(ratio) && ratio.interval[1] >= goal.least;
        let count = |kind: &dyn Fn(&Ratio) -> bool| {
            let of_kind = measured.iter().filter(|(_, ratio)| kind(ratio));
            of_kind.count()
        };
        let (rows, met, open) = (measured.len(), count(&met), count(&open));
        let lost = rows - met - open;
        let _ = writeln!(text, "| {} | {rows} | {met} | {open} | {lost} |", goal.text);
        let mut lost: Vec<String> = Vec::new();
        for (line, ratio) in &measured {
            if ratio.interval[1] < goal.least && ratio.median < goal.least {
                lost.push(format!(
                    "{}, {} {}",
                    line.place(),
                    line.workload,
                    ratio.text()
                ));
            }
        }
        if !lost.is_empty() {
            let _ = writeln!(missed, "- {}: {}.", goal.text, lost.join("; "));
        }
    }
    if !missed.is_empty() {
        let _ = write!(text, "\nMissed, with the whole interval:\n\n{missed}");
    }
}

fn write_lines(text: &mut String, lines: &[Line<'_>]) {
    text.push_str("\n### Rows\n\n");
    text.push_str(
        "| below | workload | native | auto / native | best fixed / native | libfuse's best / native | \
         auto / best fixed | auto / libfuse's best |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for line in lines {
        let told = |ratio: Option<Ratio>| ratio.map_or_else(|| "-".into(), |it| it.text());
        let named = |name: Option<&str>| {
            let told = name.and_then(|name| Some((name, line.ratio(name, "native")?)));
            told.map_or_else(
                || "-".into(),
                |(name, it)| format!("{} {name}", ratio(it.median)),
            )
        };
        let to = |name: Option<&str>| told(name.and_then(|name| line.ratio(AUTO, name)));
        let _ = writeln!(
            text,
            "| {} | {} | {} {} | {} | {} | {} | {} | {} |",
            line.place(),
            line.workload,
            significant(median(&line.rates("native"))),
            line.unit,
            told(line.ratio(AUTO, "native")),
            named(line.fixed),
            named(line.peer),
            to(line.fixed),
            to(line.peer),
        );
    }
}

/// The 99th percentile of stat beside a slow file over that beside nothing, in the same round of
/// the same variant.
fn lanes(record: &Record) -> Option<String> {
    let mine = || record.rows.iter().filter(|row| row.group == LANES);
    let mut variants: Vec<&str> = mine().map(|row| row.variant.as_str()).collect();
    variants.dedup();
    variants.sort_unstable();
    variants.dedup();
    let p99 = |variant: &str, workload: &str| -> Vec<f64> {
        let rows = mine().filter(|row| row.variant == variant && row.workload == workload);
        rows.map(|row| row.figures.p99_ns as f64 / 1e3).collect()
    };
    let [alone, beside] = Lanes::NAMES;
    let mut text = String::new();
    for variant in variants {
        let (base, slow) = (p99(variant, alone), p99(variant, beside));
        let Some(times) = Ratio::of(&slow, &base) else {
            continue;
        };
        let verdict = match times {
            it if it.median <= 2.0 => "met",
            it if it.interval[0] <= 2.0 => "not shown",
            _ => "missed",
        };
        let _ = writeln!(
            text,
            "| {variant} | {} | {} | {} | {verdict} |",
            significant(median(&base)),
            significant(median(&slow)),
            times.text(),
        );
    }
    (!text.is_empty()).then(|| {
        format!(
            "\n### Does a slow file hold up stat? p99 beside it at most twice that beside nothing\n\n\
             | variant | p99 beside nothing, µs | beside a slow file, µs | times | |\n\
             | --- | --- | --- | --- | --- |\n{text}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    /// The made-up run with its rows under a comparison's names.
    fn comparison() -> Record {
        let mut record = record();
        record
            .rows
            .retain(|row| row.group == "transport" && row.workload == "stat");
        let names = [
            ("native", "native"),
            ("classic", FIXED[1]),
            ("uring", FIXED[0]),
            ("shm", AUTO),
        ];
        for row in &mut record.rows {
            row.group = format!("{MIX}disk");
            row.workload = format!("open+read+close of {OPENED}");
            if let Some((_, name)) = names.iter().find(|(old, _)| *old == row.variant) {
                row.variant = (*name).into();
            }
        }
        record
    }

    #[test]
    fn a_row_has_the_best_setting_and_the_best_peer() {
        let record = comparison();
        let lines = Line::all(&record);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].fixed, Some(FIXED[0]));
        let to_fixed = lines[0].ratio(AUTO, FIXED[0]).unwrap();
        assert!((to_fixed.median - 0.95).abs() < 0.05, "{to_fixed:?}");
    }

    #[test]
    fn what_is_missed_is_named() {
        let text = markdown(&comparison()).unwrap();
        assert!(
            text.contains("- the same by default: disk, open+read+close"),
            "{text}"
        );
    }

    #[test]
    fn another_run_is_no_comparison() {
        assert_eq!(markdown(&record()), None);
    }

    #[test]
    fn lanes_are_told_by_the_slowest_hundredth() {
        let mut record = comparison();
        let mut rows = Vec::new();
        for (workload, p99_ns) in Lanes::NAMES.into_iter().zip([100_000, 150_000]) {
            let mut row = record.rows[0].clone();
            row.group = LANES.into();
            row.workload = workload.into();
            row.figures.p99_ns = p99_ns;
            rows.push(row);
        }
        record.rows = rows;
        let text = markdown(&record).unwrap();
        assert!(text.contains("| 100 | 150 | 1.50"), "{text}");
    }
}
