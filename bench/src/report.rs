//! Tables for the eye, raw.csv and summary.json for programs.

use crate::{
    floor::Floor,
    host::Host,
    html,
    recorder::{Figures, QUANTILES},
    run::Row,
    summary::Summary,
};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::{fmt::Write as _, fs, path::Path};

/// A row of raw.csv: which repetition, and its [`Figures`].
#[derive(Serialize)]
struct RawRow<'a> {
    workload: &'a str,
    variant: &'a str,
    repetition: usize,
    #[serde(flatten)]
    figures: &'a Figures,
}

/// summary.json.
#[derive(Serialize)]
struct SummaryFile<'a> {
    /// Version of this file's schema.
    schema: u32,
    host: &'a Host,
    floor: &'a Floor,
    results: &'a [Summary],
}

const HEADINGS: [&str; 11] = [
    "workload", "variant", "rate", "", "±", "ratio", "95 %", "p50 µs", "p99 µs", "CPU s", "daemon",
];

fn cells(result: &Summary) -> [String; 11] {
    [
        result.workload.clone(),
        result.variant.clone(),
        significant(result.rate),
        result.unit.to_owned(),
        format!("{:.0} %", result.spread * 100.0),
        format!("{:.2}", result.ratio),
        format!(
            "{:.2}..{:.2}",
            result.ratio_interval[0], result.ratio_interval[1]
        ),
        significant(result.p50_us),
        significant(result.p99_us),
        format!("{:.2}", result.cpu_s),
        format!("{:.2}", result.cpu_daemon_s),
    ]
}

/// Three significant digits, without an exponent.
fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The results as a table for a terminal.
pub fn table(results: &[Summary]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(HEADINGS);
    let mut workload = "";
    for result in results {
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
    table.to_string()
}

/// The results as a Markdown document.
pub fn markdown(host: &Host, command: &str, results: &[Summary]) -> String {
    let mut text = format!("# Run of {}\n\n`{command}`\n\n", host.date);
    for (name, value) in host.lines() {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let _ = writeln!(text, "\n| {} |", HEADINGS.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(HEADINGS.len()));
    for result in results {
        let _ = writeln!(text, "| {} |", cells(result).join(" | "));
    }
    text
}

/// Writes raw.csv, latency.csv, summary.json, summary.md and report.html into `folder`.
///
/// # Errors
///
/// What the file system says.
pub fn write(
    folder: &Path,
    host: &Host,
    floor: &Floor,
    command: &str,
    rows: &[Row],
    results: &[Summary],
) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let raw = folder.join("raw.csv");
    fs::write(&raw, raw_csv(rows)?).with_context(|| raw.display().to_string())?;
    fs::write(folder.join("latency.csv"), latency_csv(rows)?)?;
    let json = serde_json::to_string_pretty(&SummaryFile {
        schema: 1,
        host,
        floor,
        results,
    })?;
    fs::write(folder.join("summary.json"), json + "\n")?;
    fs::write(folder.join("summary.md"), markdown(host, command, results))?;
    fs::write(
        folder.join("report.html"),
        html::page(host, floor, command, rows, results)?,
    )?;
    Ok(())
}

fn raw_csv(rows: &[Row]) -> Result<String> {
    // The csv crate cannot write headings of flattened structures; serde_json's map can name them.
    let mut text = String::new();
    for row in rows {
        let raw = RawRow {
            workload: &row.workload,
            variant: &row.variant,
            repetition: row.repetition,
            figures: &row.figures,
        };
        let serde_json::Value::Object(fields) = serde_json::to_value(raw)? else {
            unreachable!("a structure is an object")
        };
        let mut line = csv::Writer::from_writer(Vec::new());
        if text.is_empty() {
            line.write_record(fields.keys())?;
        }
        line.write_record(fields.values().map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }))?;
        text.push_str(&String::from_utf8(line.into_inner()?)?);
    }
    Ok(text)
}

/// Nanoseconds at each quantile of each repetition.
fn latency_csv(rows: &[Row]) -> Result<String> {
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record([
        "workload",
        "variant",
        "repetition",
        "quantile",
        "latency_ns",
    ])?;
    for row in rows {
        for (quantile, ns) in QUANTILES.iter().zip(&row.latency_curve_ns) {
            file.serialize((&row.workload, &row.variant, row.repetition, quantile, ns))?;
        }
    }
    Ok(String::from_utf8(file.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{summary::summarize, workload::Measure};

    fn rows() -> Vec<Row> {
        ["native", "classic"]
            .map(|variant| Row {
                workload: "stat, \"quoted\"".into(),
                measure: Measure::Operations,
                variant: variant.into(),
                repetition: 0,
                figures: Figures {
                    wall_ns: 1_000_000,
                    operations: 7,
                    ..Figures::default()
                },
                latency_curve_ns: vec![5; QUANTILES.len()],
            })
            .into()
    }

    #[test]
    fn raw_csv_can_be_read_back() {
        let text = raw_csv(&rows()).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert!(
            reader
                .headers()
                .unwrap()
                .iter()
                .any(|heading| heading == "wall_ns")
        );
        let back: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(back.len(), 2);
        assert!(back[0].iter().any(|field| field == "stat, \"quoted\""));
    }

    #[test]
    fn a_run_leaves_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows();
        let floor = Floor::measure().unwrap();
        write(
            dir.path(),
            &Host::read(),
            &floor,
            "bench",
            &rows,
            &summarize(&rows),
        )
        .unwrap();
        for file in [
            "raw.csv",
            "latency.csv",
            "summary.json",
            "summary.md",
            "report.html",
        ] {
            assert!(
                dir.path().join(file).metadata().unwrap().len() > 0,
                "{file}"
            );
        }
    }
}
