//! Two runs of one machine, row by row.
//!
//! Rates of different runs are not compared: what is compared is each variant's ratio to its run's
//! baseline. A row agrees where the rounds of both runs do not tell them apart: the interval of the
//! change by Mann and Whitney ([`change`]) holds 1. Where nothing but chance differs, 95 of 100 rows
//! do, or a little more (96.8 with five rounds each); fewer say that something differs which rounds
//! do not see. Whether the second median lies in the first's interval would be no test: it misses
//! by chance alone in 17 of 100 rows, because it moves, too. Wide intervals would make everything
//! agree, so how wide they are, and how far medians moved, is said beside.

use crate::{
    record::Record,
    report::{interval, ratio},
    stats::{change, median, median_interval, paired, quantile, reach},
    summary::{rates, workloads},
};
use anyhow::{Result, ensure};
use comfy_table::{Table, presets};

/// How a ratio changed from one run to the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Group, workload and variant.
    pub row: [String; 3],
    /// Ratio to the baseline in the first run.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// Interval of the change as a factor, of at least 95 % ([`change`]).
    pub interval: [f64; 2],
    /// The stated interval of the ratio, in the first run and in the second.
    pub stated: [[f64; 2]; 2],
}

impl Change {
    /// Whether the interval holds 1: the runs do not contradict each other.
    pub fn agrees(&self) -> bool {
        self.interval[0] <= 1.0 && 1.0 <= self.interval[1]
    }

    /// By which factor the median moved, either way, less 1.
    fn moved(&self) -> f64 {
        (self.after / self.before).max(self.before / self.after) - 1.0
    }

    /// Whether the stated intervals of both runs have a value in common.
    fn meets(&self) -> bool {
        let [[low, high], [low_after, high_after]] = self.stated;
        low <= high_after && low_after <= high
    }

    /// Whether the second run's median lies in the first's stated interval.
    fn repeats(&self) -> bool {
        let [low, high] = self.stated[0];
        (low..=high).contains(&self.after)
    }
}

/// Every row that both runs have, baselines left out.
///
/// # Errors
///
/// If the runs are of different machines, lower file systems or amounts of work.
pub fn changes(a: &Record, b: &Record) -> Result<Vec<Change>> {
    if let Some(what) = a.about.host.differs_from(&b.about.host) {
        anyhow::bail!("these are runs of different machines ({what}): nothing can be compared");
    }
    let (lower_a, lower_b) = (&a.about.lower, &b.about.lower);
    ensure!(
        lower_a == lower_b,
        "one run is on {lower_a}, the other on {lower_b}: nothing can be compared"
    );
    let (budget_a, budget_b) = (a.about.budget_s, b.about.budget_s);
    ensure!(
        budget_a == budget_b,
        "repetitions took {budget_a} s and {budget_b} s (quick and full?): nothing can be compared"
    );
    let mut changes = Vec::new();
    for (group, workload) in workloads(&a.rows) {
        let of = |record: &Record, variant: &str| rates(&record.rows, group, workload, variant);
        let (Some(base), names) = variants(a, group, workload) else {
            continue;
        };
        let (base_a, base_b) = (of(a, base), of(b, base));
        for variant in names {
            let (rates_a, rates_b) = (of(a, variant), of(b, variant));
            if base_b.is_empty() || rates_b.is_empty() {
                continue;
            }
            let (before, after) = (paired(&rates_a, &base_a), paired(&rates_b, &base_b));
            let Some((_, interval)) = change(&before, &after) else {
                continue;
            };
            changes.push(Change {
                row: [group, workload, variant].map(str::to_owned),
                before: median(&before),
                after: median(&after),
                interval,
                stated: [median_interval(&before), median_interval(&after)],
            });
        }
    }
    ensure!(!changes.is_empty(), "the runs have no row in common");
    Ok(changes)
}

/// The baseline of a workload, and its other variants.
fn variants<'a>(
    record: &'a Record,
    group: &str,
    workload: &str,
) -> (Option<&'a str>, Vec<&'a str>) {
    let mut names: Vec<&str> = Vec::new();
    for row in &record.rows {
        let mine = row.group == group && row.workload == workload;
        if mine && !names.contains(&row.variant.as_str()) {
            names.push(&row.variant);
        }
    }
    let mut names = names.into_iter();
    (names.next(), names.collect())
}

/// Those that changed, and how many did not, for a terminal.
pub fn table(changes: &[Change]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header([
        "group",
        "workload",
        "variant",
        "before",
        "after",
        "change, 95 %",
    ]);
    for change in changes.iter().filter(|change| !change.agrees()) {
        let [group, workload, variant] = change.row.clone();
        table.add_row([
            group,
            workload,
            variant,
            ratio(change.before),
            ratio(change.after),
            interval(change.interval),
        ]);
    }
    let count = |which: fn(&Change) -> bool| changes.iter().filter(|change| which(change)).count();
    let agree = count(Change::agrees);
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let share = |rows: usize| percent(rows as f64 / changes.len().max(1) as f64);
    let figures = |figure: &dyn Fn(&Change) -> f64| -> String {
        let values: Vec<f64> = changes.iter().map(figure).collect();
        let [half, most] = [0.5, 0.9].map(|part| percent(quantile(&values, part)));
        format!("{half} in half of the rows, up to {most} in nine of ten")
    };
    let summary = format!(
        "{agree} of {} rows agree ({}): the interval of their ratio's change, 95 % or more, holds 1\n\
         the stated intervals of both runs meet in {} of the rows, and the second median lies in \
         the first's interval in {} (by chance alone: in 83 %)\n\
         medians moved by {}\n\
         intervals reach to either side: in the first run {}; in the second {}",
        changes.len(),
        share(agree),
        share(count(Change::meets)),
        share(count(Change::repeats)),
        figures(&Change::moved),
        figures(&|change| reach(change.stated[0])),
        figures(&|change| reach(change.stated[1])),
    );
    if agree == changes.len() {
        summary
    } else {
        format!("{table}\n{summary}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Row, testing::record};

    #[test]
    fn a_run_agrees_with_itself() {
        let changes = changes(&record(), &record()).unwrap();
        assert!(changes.iter().all(Change::agrees));
        assert!(changes.iter().all(|change| change.row[2] != "native"));
        assert!(table(&changes).contains("(100 %)"));
    }

    #[test]
    fn a_variant_that_became_slower_is_shown() {
        let mut slower = record();
        for row in &mut slower.rows {
            if row.variant == "uring" && row.workload == "stat" {
                row.figures.operations /= 2;
            }
        }
        let changes = changes(&record(), &slower).unwrap();
        let text = table(&changes);
        assert!(
            text.contains("uring") && !text.contains("classic"),
            "{text}"
        );
    }

    /// One variant's rates in one workload, multiplied round by round.
    fn scaled(record: &mut Record, variant: &str, factors: &[f64]) {
        for row in &mut record.rows {
            if row.variant == variant && row.workload == "stat" {
                let rate = row.figures.operations as f64 * factors[row.repetition];
                row.figures.operations = rate as u64;
            }
        }
    }

    /// A run of so many rounds that are all alike.
    fn rounds(rounds: usize) -> Record {
        let mut record = record();
        let first: Vec<_> = record
            .rows
            .iter()
            .filter(|row| row.repetition == 0)
            .cloned()
            .collect();
        record.rows = first
            .into_iter()
            .flat_map(|row| {
                (0..rounds).map(move |repetition| Row {
                    repetition,
                    ..row.clone()
                })
            })
            .collect();
        record
    }

    #[test]
    fn rounds_that_lie_among_each_other_agree_and_others_do_not() {
        let five = [0.9, 0.95, 1.0, 1.05, 1.1];
        let mut before = rounds(5);
        scaled(&mut before, "uring", &five);
        // U of Mann and Whitney is 3 with the first, which is not rare, and 2 with the second.
        for (after, agrees) in [
            ([1.06, 1.07, 1.08, 1.12, 1.13], true),
            ([1.06, 1.07, 1.12, 1.13, 1.14], false),
        ] {
            let mut record = rounds(5);
            scaled(&mut record, "uring", &after);
            let changes = changes(&before, &record).unwrap();
            let of = |change: &&Change| change.row[1] == "stat" && change.row[2] == "uring";
            assert_eq!(
                changes.iter().find(of).unwrap().agrees(),
                agrees,
                "{after:?}"
            );
        }
    }

    #[test]
    fn other_machines_and_other_amounts_are_refused() {
        let mut other = record();
        other.about.host.cpus += 1;
        let error = changes(&record(), &other).unwrap_err().to_string();
        assert!(error.contains("different machines"), "{error}");
        let mut quick = record();
        quick.about.budget_s /= 2.0;
        assert!(changes(&record(), &quick).is_err());
    }
}
