//! report.html: a run, to be read from top to bottom. One file, nothing loaded from elsewhere.

use crate::{
    plot,
    record::Record,
    report::{interval, notes, optional, ratio, significant},
    summary::Summary,
    verdict::Verdict,
};
use anyhow::Result;
use std::fmt::Write as _;

const STYLE: &str = "
body { font: 16px/1.5 sans-serif; max-width: 66em; margin: 2em auto; padding: 0 1em; color: #111 }
table { border-collapse: collapse; margin: 1em 0; font-size: 90% }
th, td { padding: .2em .7em; border-bottom: 1px solid #ccc; text-align: right }
th:first-child, td:first-child, .text { text-align: left }
code { background: #f3f3f3; padding: .1em .3em }
svg { max-width: 100%; height: auto; display: block; margin: .5em 0 }
td, th { white-space: nowrap } td.question { white-space: normal; min-width: 22em }
td.long { white-space: normal; overflow-wrap: anywhere }
.wide { overflow-x: auto }
nav a { margin-right: 1em }
summary { cursor: pointer }
.faster { color: #060 } .slower { color: #a00 } .note { color: #a00; font-weight: bold }
";

/// What the columns of the tables mean.
const COLUMNS: &str = "<p>Each bar is a median, with its 95 % interval in red; the number behind a \
    name is its ratio to the group's first variant. <b>±</b> is the median absolute deviation. \
    <b>CPU</b> is of application, daemon and the kernel's threads for it. <b>requests/op</b> are \
    FUSE requests per call of the application, <b>calls/request</b> system calls of the daemon per \
    request (each enters the kernel once and leaves it once), <b>in kernel</b> the part of requests \
    that kernel programs answered; all three were counted in a repetition that is not timed. \
    <b>copies</b> are those of each byte by a CPU, by design.</p>\n";

/// Text as it may stand in a document.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The whole document.
///
/// # Errors
///
/// If a plot cannot be drawn.
pub fn page(record: &Record, verdicts: &[Verdict], results: &[Summary]) -> Result<String> {
    let about = &record.about;
    let mut page = String::new();
    let date = escaped(&about.host.date);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <link rel=\"icon\" href=\"data:,\">\
         <title>shmfuse: run of {date}</title><style>{STYLE}</style></head><body>\n\
         <h1>Copy versus zero-copy: run of {date}</h1>\n<p><code>{}</code></p>\n",
        escaped(&about.command)
    );
    for note in notes(record) {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(&note));
    }
    write_verdicts(&mut page, verdicts)?;
    page.push_str(
        "<p>A ratio is taken in each round of this run, between neighbours in time; told is the \
         median of the rounds, with its 95 % interval. One variant is mounted at a \
         time.</p>\n",
    );
    page.push_str("<nav>");
    for group in &about.groups {
        let name = escaped(&group.name);
        let _ = write!(page, "<a href=\"#{name}\">{name}</a>");
    }
    page.push_str("</nav>\n<h2>At a glance</h2>\n");
    for (name, svg) in plot::overview(results)? {
        let title = match name {
            "copies" => "Copies and CPU time, reading a stream by 1 MiB",
            "copies-write" => "Copies and CPU time, writing a stream by 1 MiB",
            "ablation" => "What each stage gains or costs",
            "scaling-fstat" => "Threads, fstat",
            "scaling-read" => "Threads, random read 4K",
            _ => "Threads, stat",
        };
        let _ = writeln!(page, "<h3>{title}</h3>\n{svg}");
    }
    write_pairs(&mut page, "Machine", &about.lines());
    write_pairs(&mut page, "The machine's floor", &about.floor.lines());
    for group in &about.groups {
        let name = escaped(&group.name);
        let purpose = escaped(&group.purpose);
        let _ = writeln!(page, "<h2 id=\"{name}\">{name}</h2>\n<p>{purpose}</p>");
        page.push_str("<details><summary>How each variant is mounted</summary><table>");
        for (variant, words) in &group.variants {
            let (variant, words) = (escaped(variant), escaped(&words.join(" ")));
            let _ = writeln!(
                page,
                "<tr><td>{variant}</td><td class=\"text long\"><code>{words}</code></td></tr>"
            );
        }
        page.push_str("</table></details>\n");
        let mine: Vec<&Summary> = results
            .iter()
            .filter(|result| result.group == group.name)
            .collect();
        for workload in mine.chunk_by(|a, b| a.workload == b.workload) {
            write_workload(&mut page, record, workload)?;
        }
    }
    page.push_str("<h2>How to read the tables</h2>\n");
    page.push_str(COLUMNS);
    page.push_str("</body></html>\n");
    Ok(page)
}

fn write_verdicts(page: &mut String, verdicts: &[Verdict]) -> Result<()> {
    if verdicts.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>Verdicts</h2>\n<table><tr><th>question</th><th class=\"text\">workload</th><th>ratio</th>\
         <th>95 %</th><th></th></tr>\n",
    );
    for verdict in verdicts {
        let _ = writeln!(
            page,
            "<tr><td class=\"question\">{}</td><td class=\"text long\">{}: {} / {}</td><td>{}</td>\
             <td>{}</td><td class=\"{}\">{}</td></tr>",
            escaped(&verdict.question),
            escaped(&verdict.workload),
            escaped(&verdict.variant),
            escaped(&verdict.against),
            ratio(verdict.ratio),
            interval(verdict.interval),
            verdict.word(),
            verdict.word(),
        );
    }
    page.push_str("</table>\n");
    page.push_str(&plot::ratios::draw(verdicts)?);
    Ok(())
}

fn write_pairs(page: &mut String, heading: &str, pairs: &[(&'static str, String)]) {
    let _ = writeln!(page, "<h2>{heading}</h2>\n<table>");
    for (name, value) in pairs {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"text long\">{}</td></tr>",
            escaped(name),
            escaped(value)
        );
    }
    page.push_str("</table>\n");
}

fn write_workload(page: &mut String, record: &Record, results: &[&Summary]) -> Result<()> {
    let (group, workload) = (&results[0].group, &results[0].workload);
    let _ = writeln!(page, "<h3>{}</h3>", escaped(workload));
    page.push_str(&plot::rates(results)?);
    write_table(page, results);
    let mine = |row: &&crate::record::Row| &row.group == group && &row.workload == workload;
    let operations = record
        .rows
        .iter()
        .filter(mine)
        .map(|row| row.figures.operations);
    // A few operations have no distribution.
    if operations.max().unwrap_or(0) >= 100 {
        let names: Vec<&str> = results
            .iter()
            .map(|result| result.variant.as_str())
            .collect();
        let svg = plot::curves::latencies(&record.rows, group, workload, &names)?;
        let _ = writeln!(page, "<details><summary>Latencies</summary>{svg}</details>");
    }
    Ok(())
}

fn write_table(page: &mut String, results: &[&Summary]) {
    page.push_str("<div class=\"wide\"><table><tr>");
    for heading in [
        "variant",
        "rate",
        "±",
        "ratio",
        "95 %",
        "p50 µs",
        "p90",
        "p99",
        "p99.9",
        "max",
        "CPU µs/op",
        "daemon",
        "kernel threads",
        "CPU s/GiB",
        "copies",
        "switches/op",
        "requests/op",
        "calls/request",
        "in kernel",
        "daemon MiB",
    ] {
        let _ = write!(page, "<th>{heading}</th>");
    }
    page.push_str("</tr>\n");
    for result in results {
        let gib = Some(result.cpu_s_per_gib).filter(|&seconds| seconds > 0.0);
        let cells = [
            escaped(&result.variant),
            format!("{} {}", significant(result.rate), result.unit),
            format!("{:.0} %", result.spread * 100.0),
            ratio(result.ratio),
            interval(result.ratio_interval),
            significant(result.p50_us),
            significant(result.p90_us),
            significant(result.p99_us),
            significant(result.p999_us),
            significant(result.max_us),
            significant(result.cpu_us_per_op),
            significant(result.cpu_daemon_us_per_op),
            significant(result.cpu_kernel_us_per_op),
            optional(gib),
            optional(result.copies),
            significant(result.switches_per_op),
            optional(result.requests_per_op),
            optional(result.daemon_calls_per_request),
            result
                .answered
                .map_or_else(|| "-".into(), |part| format!("{:.0} %", part * 100.0)),
            format!("{:.0}", result.daemon_peak_mib),
        ];
        let _ = writeln!(page, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
    }
    page.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{summary::summarize, testing::record, verdict::verdicts};

    #[test]
    fn names_cannot_break_the_page() {
        let record = record();
        let verdicts = verdicts(&record.rows, &record.about.peers);
        let page = page(&record, &verdicts, &summarize(&record)).unwrap();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert!(page.contains("a&amp;b"));
        for tag in ["table", "svg", "details"] {
            let opened = page.matches(&format!("<{tag}")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn what_failed_stands_above_the_verdicts() {
        let record = record();
        let verdicts = verdicts(&record.rows, &record.about.peers);
        let page = page(&record, &verdicts, &summarize(&record)).unwrap();
        assert!(page.find("FAILED").unwrap() < page.find("Verdicts").unwrap());
    }
}
