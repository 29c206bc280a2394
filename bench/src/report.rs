//! Tables for the eye; the files of a run.

use crate::{
    html, plot,
    record::Record,
    summary::{Summary, SummaryFile, summarize},
    verdict::{Verdict, verdicts},
};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use std::{fmt::Write as _, fs, path::Path};

const HEADINGS: [&str; 13] = [
    "workload",
    "variant",
    "rate",
    "",
    "±",
    "ratio",
    "95 %",
    "p50 µs",
    "p99 µs",
    "CPU µs/op",
    "CPU s/GiB",
    "requests/op",
    "calls/request",
];

fn cells(result: &Summary) -> [String; HEADINGS.len()] {
    [
        result.workload.clone(),
        result.variant.clone(),
        significant(result.rate),
        result.unit.clone(),
        format!("{:.0} %", result.spread * 100.0),
        ratio(result.ratio),
        interval(result.ratio_interval),
        significant(result.p50_us),
        significant(result.p99_us),
        significant(result.cpu_us_per_op),
        if result.cpu_s_per_gib > 0.0 {
            significant(result.cpu_s_per_gib)
        } else {
            "-".into()
        },
        optional(result.requests_per_op),
        optional(result.daemon_calls_per_request),
    ]
}

/// Three significant digits, without an exponent.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A ratio: more digits where it is small.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        v if v < 0.01 => format!("{value:.4}"),
        v if v < 0.1 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// The ends of an interval of a ratio.
pub(crate) fn interval([low, high]: [f64; 2]) -> String {
    format!("{}..{}", ratio(low), ratio(high))
}

/// A figure that may not be there.
pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), significant)
}

/// The verdicts as a table for a terminal.
pub fn verdict_table(verdicts: &[Verdict]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(["question", "workload", "ratio", "95 %", ""]);
    for verdict in verdicts {
        table.add_row([
            verdict.question.clone(),
            format!(
                "{}: {} / {}",
                verdict.workload, verdict.variant, verdict.against
            ),
            ratio(verdict.ratio),
            interval(verdict.interval),
            verdict.word().to_owned(),
        ]);
    }
    table.to_string()
}

/// The results of each group as a table for a terminal.
pub fn table(results: &[Summary]) -> String {
    let mut text = String::new();
    for group in results.chunk_by(|a, b| a.group == b.group) {
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_BORDERS_ONLY)
            .set_header(HEADINGS);
        let mut workload = "";
        for result in group {
            let mut row = cells(result);
            if result.workload == workload {
                row[0].clear();
            }
            workload = &result.workload;
            table.add_row(row);
        }
        for column in 2..HEADINGS.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let _ = writeln!(text, "{}\n{table}", group[0].group);
    }
    text
}

/// What a reader must know before the figures: failures, what was left out, noise.
pub fn notes(record: &Record) -> Vec<String> {
    let about = &record.about;
    let mut notes = Vec::new();
    for failure in &about.failures {
        let (group, workload) = (&failure.group, &failure.workload);
        let (variant, why) = (&failure.variant, &failure.why);
        notes.push(format!("FAILED: {group}: {workload} on {variant}: {why}"));
    }
    for left in &about.left {
        notes.push(format!("NOT RUN: {}: {}", left.what, left.why));
    }
    for warning in about.noise.warnings() {
        notes.push(format!("READ WITH CARE: {warning}"));
    }
    notes
}

/// The verdicts as a table.
pub(crate) fn write_verdicts(text: &mut String, verdicts: &[Verdict]) {
    text.push_str("| question | workload | ratio | 95 % | |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for verdict in verdicts {
        let _ = writeln!(
            text,
            "| {} | {}: {} / {} | {} | {} | {} |",
            verdict.question,
            verdict.workload,
            verdict.variant,
            verdict.against,
            ratio(verdict.ratio),
            interval(verdict.interval),
            verdict.word()
        );
    }
}

/// A run as a Markdown document.
pub fn markdown(record: &Record, verdicts: &[Verdict], results: &[Summary]) -> String {
    let about = &record.about;
    let mut text = format!("# Run of {}\n\n`{}`\n\n", about.host.date, about.command);
    for note in notes(record) {
        let _ = writeln!(text, "- **{note}**");
    }
    for (name, value) in about.lines() {
        let _ = writeln!(text, "- {name}: {value}");
    }
    if !verdicts.is_empty() {
        text.push_str("\n## Verdicts\n\n");
        write_verdicts(&mut text, verdicts);
    }
    for group in results.chunk_by(|a, b| a.group == b.group) {
        let _ = writeln!(
            text,
            "\n## {}\n\n| {} |",
            group[0].group,
            HEADINGS.join(" | ")
        );
        let _ = writeln!(text, "|{}", " --- |".repeat(HEADINGS.len()));
        for result in group {
            let _ = writeln!(text, "| {} |", cells(result).join(" | "));
        }
    }
    text
}

/// Draws everything that follows from the raw figures, into `folder`: summary.json, summary.md,
/// plots/ and report.html.
///
/// # Errors
///
/// What the file system or the drawing library says.
pub fn draw(folder: &Path, record: &Record) -> Result<()> {
    let results = summarize(record);
    let verdicts = verdicts(&record.rows, &record.about.peers);
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write("summary.md", &markdown(record, &verdicts, &results))?;
    write("report.html", &html::page(record, &verdicts, &results)?)?;
    let plots = folder.join("plots");
    fs::create_dir_all(&plots).with_context(|| plots.display().to_string())?;
    for (name, svg) in plot::overview(&results)? {
        write(&format!("plots/{name}.svg"), &svg)?;
    }
    let file = SummaryFile {
        about: record.about.clone(),
        verdicts,
        results,
    };
    write(
        "summary.json",
        &(serde_json::to_string_pretty(&file)? + "\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn a_run_can_be_read_back_and_drawn_again() {
        let dir = tempfile::tempdir().unwrap();
        let made = record();
        made.write(dir.path()).unwrap();
        let back = Record::read(dir.path()).unwrap();
        assert_eq!((&back.about, &back.counts), (&made.about, &made.counts));
        assert_eq!(back.rows, made.rows);
        draw(dir.path(), &back).unwrap();
        for file in [
            "summary.json",
            "summary.md",
            "report.html",
            "plots/copies.svg",
        ] {
            assert!(
                dir.path().join(file).metadata().unwrap().len() > 0,
                "{file}"
            );
        }
        let json = fs::read_to_string(dir.path().join("summary.json")).unwrap();
        let file: SummaryFile = serde_json::from_str(&json).unwrap();
        assert_eq!(file.results.len(), summarize(&made).len());
    }

    #[test]
    fn a_folder_that_is_no_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("run.json"), "{}").unwrap();
        let error = Record::read(dir.path()).unwrap_err();
        assert!(format!("{error:#}").contains("no run"), "{error:#}");
    }

    #[test]
    fn failures_come_before_figures() {
        let record = record();
        let notes = notes(&record).join("\n");
        assert!(
            notes.contains("FAILED") && notes.contains("NOT RUN: bindfs"),
            "{notes}"
        );
        let text = markdown(&record, &[], &summarize(&record));
        assert!(text.find("FAILED") < text.find("| workload"));
    }

    #[test]
    fn the_schema_of_the_summary_is_documented() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(folder.join("../docs/benchmarks.md")).unwrap();
        let made = record();
        let file = SummaryFile {
            about: made.about.clone(),
            verdicts: verdicts(&made.rows, &[]),
            results: summarize(&made),
        };
        let json = serde_json::to_value(&file).unwrap();
        let fields = |value: &serde_json::Value| -> Vec<String> {
            let object = value.as_object().expect("a structure");
            object.keys().cloned().collect()
        };
        for part in [
            &json,
            &json["results"][0],
            &json["verdicts"][0],
            &json["host"],
        ] {
            for field in fields(part) {
                assert!(
                    text.contains(&format!("`{field}`")),
                    "{field} is not documented"
                );
            }
        }
    }
}
