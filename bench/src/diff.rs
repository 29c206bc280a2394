//! Two runs of one machine, row by row.
//!
//! Rates of different runs are not compared: what is compared is each variant's ratio to its run's
//! baseline. A row agrees where the change of its median is within what the spread of both runs'
//! repetitions explains: the 95 % bootstrap interval of the change holds 1. Wide intervals would make
//! everything agree, so how wide they are, and how far medians moved, is said beside.

use crate::{
    record::Record,
    report::{interval, ratio},
    stats::{change_interval, median, median_interval, paired, quantile},
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
    /// 95 % bootstrap interval of `after / before`.
    pub interval: [f64; 2],
    /// The interval of the first run's ratio.
    pub stated: [f64; 2],
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

    /// How far the first run's interval reaches to either side of it, as a part of its middle.
    fn reach(&self) -> f64 {
        let [low, high] = self.stated;
        (high - low) / (high + low)
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
            changes.push(Change {
                row: [group, workload, variant].map(str::to_owned),
                before: median(&before),
                after: median(&after),
                interval: change_interval(&before, &after),
                stated: median_interval(&before),
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
    let agree = changes.iter().filter(|change| change.agrees()).count();
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let each = |figure: fn(&Change) -> f64| changes.iter().map(figure).collect::<Vec<f64>>();
    let (moved, reach) = (each(Change::moved), each(Change::reach));
    let summary = format!(
        "{agree} of {} rows agree ({}): the 95 % interval of their ratio's change holds 1\n\
         medians moved by {} in half of the rows, by up to {} in nine of ten\n\
         the first run's intervals reach {} to either side in half of the rows, up to {} in nine of ten",
        changes.len(),
        percent(agree as f64 / changes.len().max(1) as f64),
        percent(quantile(&moved, 0.5)),
        percent(quantile(&moved, 0.9)),
        percent(quantile(&reach, 0.5)),
        percent(quantile(&reach, 0.9)),
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
    use crate::testing::record;

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
