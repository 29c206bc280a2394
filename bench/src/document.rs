//! The results of a run as a part of a document: tables between two marks, made anew from the run.

use crate::{
    ablation::ALL_ON,
    goals,
    record::Record,
    report::{notes, ratio, significant, write_verdicts},
    stats::{median, median_interval, paired, reach},
    summary::{rates, summarize},
    verdict::verdicts,
};
use anyhow::{Context, Result};
use std::fmt::Write as _;

/// The line before the tables.
pub const BEGIN: &str = "<!-- results: begin (cargo xtask bench --document RUN) -->";
/// The line behind them.
pub const END: &str = "<!-- results: end -->";

/// The line before what a run with `--comparison` says.
const COMPARISON_BEGIN: &str = "<!-- comparison: begin (cargo xtask bench --document RUN) -->";
/// The line behind it.
const COMPARISON_END: &str = "<!-- comparison: end -->";

/// A document with what lies between its marks replaced by the results of a run that is kept in
/// `folder`.
///
/// # Errors
///
/// If the marks are not there.
pub fn with_results(document: &str, record: &Record, folder: &str) -> Result<String> {
    let (begin, end, results) = match goals::markdown(record) {
        Some(goals) => {
            let results = format!("{}\n{goals}", preface(record, folder));
            (COMPARISON_BEGIN, COMPARISON_END, results)
        }
        None => (BEGIN, END, results(record, folder)),
    };
    let (before, rest) = document
        .split_once(begin)
        .with_context(|| format!("the document has no line {begin:?}"))?;
    let (_, after) = rest
        .split_once(end)
        .with_context(|| format!("the document has no line {end:?}"))?;
    Ok(format!("{before}{begin}\n\n{results}\n{end}{after}"))
}

/// What is to be known of a run before its tables.
fn preface(record: &Record, folder: &str) -> String {
    let about = &record.about;
    let host = &about.host;
    let most = record.rows.iter().map(|row| row.repetition + 1).max();
    let most = most.filter(|&most| most > about.repetitions);
    let most = most.map_or_else(String::new, |most| format!(" to {most}"));
    let mut text = format!(
        "`{folder}`, {}: Linux {}, {} CPUs, {} below; {}{most} repetitions of {} s, {:.0} minutes in \
         all;\n{:.1} % of the CPU time went to other programs. `report.html` there has the plots, \
         latencies and CPU times.\n",
        host.date,
        host.kernel,
        host.cpus,
        about.lower,
        about.repetitions,
        about.budget_s,
        about.took_s / 60.0,
        about.noise.others * 100.0,
    );
    for note in notes(record) {
        let _ = writeln!(text, "\n**{note}**");
    }
    text
}

fn results(record: &Record, folder: &str) -> String {
    let about = &record.about;
    let mut text = preface(record, folder);
    text.push_str("\n### Verdicts\n\n");
    write_verdicts(&mut text, &verdicts(&record.rows, &about.peers));
    for group in &about.groups {
        write_group(&mut text, record, &group.name);
    }
    text
}

/// A table of a group: ratios to its baseline, with how far their intervals reach; the baseline's
/// own rates.
fn write_group(text: &mut String, record: &Record, group: &str) {
    let results = summarize(record);
    let mine = || results.iter().filter(|result| result.group == group);
    let (mut workloads, mut variants): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for result in mine() {
        if !workloads.contains(&result.workload.as_str()) {
            workloads.push(&result.workload);
        }
        if !variants.contains(&result.variant.as_str()) {
            variants.push(&result.variant);
        }
    }
    let named = variants.iter().find(|&&variant| variant == ALL_ON);
    let Some(&base) = named.or(variants.first()) else {
        return;
    };
    let cell = |workload: &str, variant: &str| -> String {
        let of = |variant: &str| rates(&record.rows, group, workload, variant);
        if variant == base {
            let unit = mine().find(|result| result.workload == workload);
            let unit = unit.map_or("", |result| &result.unit);
            return format!("{} {unit}", significant(median(&of(base))));
        }
        let ratios = paired(&of(variant), &of(base));
        if ratios.is_empty() {
            return "-".into();
        }
        let reach = reach(median_interval(&ratios)) * 100.0;
        format!("{} ±{reach:.0}%", ratio(median(&ratios)))
    };
    let _ = writeln!(text, "\n### Group `{group}`, ratios to {base}\n");
    // The longer list goes down the page.
    let across = variants.len() <= workloads.len();
    let (rows, columns) = if across {
        (&workloads, &variants)
    } else {
        (&variants, &workloads)
    };
    let _ = writeln!(text, "| | {} |", columns.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(columns.len() + 1));
    for row in rows {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                if across {
                    cell(row, column)
                } else {
                    cell(column, row)
                }
            })
            .collect();
        let _ = writeln!(text, "| {row} | {} |", cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;
    use std::{fs, path::Path};

    fn folder() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nbehind\n");
        let once = with_results(&document, &record(), "bench/runs/x").unwrap();
        assert!(once.starts_with("before\n") && once.ends_with("behind\n"));
        assert!(!once.contains("old") && once.contains("bench/runs/x"));
        assert!(once.contains("ratios to native"), "{once}");
        let twice = with_results(&once, &record(), "bench/runs/x").unwrap();
        assert_eq!(once, twice);
        assert!(with_results("none", &record(), "x").is_err());
    }

    #[test]
    fn the_document_of_benchmarks_has_the_marks() {
        let text = fs::read_to_string(folder().join("../docs/benchmarks.md")).unwrap();
        with_results(&text, &record(), "x").unwrap();
    }

    #[test]
    fn every_run_that_is_kept_is_of_the_current_format() {
        for run in fs::read_dir(folder().join("runs")).unwrap() {
            let run = run.unwrap().path();
            Record::read(&run).unwrap();
        }
    }
}
