//! report.html: a run, to be read from top to bottom. One file, nothing loaded from elsewhere.

use crate::{floor::Floor, host::Host, plot, run::Row, summary::Summary, verdict::verdicts};
use anyhow::Result;
use std::fmt::Write as _;

const STYLE: &str = "
body { font: 16px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #111 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .2em .7em; border-bottom: 1px solid #ccc; text-align: right }
th:first-child, td:first-child, td.text { text-align: left }
code { background: #f3f3f3; padding: .1em .3em }
svg { max-width: 100%; height: auto; display: block; margin: .5em 0 }
.faster { color: #060 } .slower { color: #a00 }
";

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
pub fn page(
    host: &Host,
    floor: &Floor,
    command: &str,
    rows: &[Row],
    results: &[Summary],
) -> Result<String> {
    let mut page = String::new();
    let date = escaped(&host.date);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>shmfuse: run of {date}</title><style>{STYLE}</style></head><body>\n\
         <h1>Copy versus zero-copy: run of {date}</h1>\n<p><code>{}</code></p>\n",
        escaped(command)
    );
    if let Some(warning) = host.warning() {
        let _ = writeln!(
            page,
            "<p class=\"slower\">Read with care: {}.</p>",
            escaped(&warning)
        );
    }
    write_verdicts(&mut page, rows);
    page.push_str(
        "<p>A ratio compares medians of the same run only; repetitions of all variants were \
         interleaved. The interval is a 95 % bootstrap of the ratio of medians.</p>\n",
    );
    write_pairs(&mut page, "Machine", &host.lines());
    write_pairs(&mut page, "The machine's floor", &floor.lines());
    let mut workloads: Vec<&str> = Vec::new();
    for result in results {
        if !workloads.contains(&result.workload.as_str()) {
            workloads.push(&result.workload);
        }
    }
    for workload in workloads {
        let mine: Vec<&Summary> = results
            .iter()
            .filter(|result| result.workload == workload)
            .collect();
        let names: Vec<&str> = mine.iter().map(|result| result.variant.as_str()).collect();
        let _ = writeln!(page, "<h2>{}</h2>", escaped(workload));
        page.push_str(&plot::rates(&mine)?);
        write_table(&mut page, &mine);
        page.push_str(&plot::latencies(rows, workload, &names)?);
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn write_verdicts(page: &mut String, rows: &[Row]) {
    let verdicts = verdicts(rows);
    if verdicts.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Verdicts</h2>\n<table><tr><th>question</th><th>workload</th><th>ratio</th>\
         <th>95 %</th><th></th></tr>\n",
    );
    for verdict in verdicts {
        let question = verdict.question;
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"text\">{}: {} / {}</td><td>{:.2}</td>\
             <td>{:.2}..{:.2}</td><td class=\"{}\">{}</td></tr>",
            escaped(question.text),
            escaped(question.workload),
            escaped(question.variant),
            escaped(question.against),
            verdict.ratio,
            verdict.interval[0],
            verdict.interval[1],
            verdict.word(),
            verdict.word(),
        );
    }
    page.push_str("</table>\n");
}

fn write_pairs(page: &mut String, heading: &str, pairs: &[(&'static str, String)]) {
    let _ = writeln!(page, "<h2>{heading}</h2>\n<table>");
    for (name, value) in pairs {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"text\">{}</td></tr>",
            escaped(name),
            escaped(value)
        );
    }
    page.push_str("</table>\n");
}

fn write_table(page: &mut String, results: &[&Summary]) {
    page.push_str(
        "<table><tr><th>variant</th><th>rate</th><th>±</th><th>ratio</th><th>95 %</th>\
         <th>p50 µs</th><th>p99 µs</th><th>CPU s</th><th>of it daemon</th>\
         <th>switches/op</th><th>daemon MiB</th></tr>\n",
    );
    for result in results {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{:.0} {}</td><td>{:.0} %</td><td>{:.2}</td><td>{:.2}..{:.2}</td>\
             <td>{:.1}</td><td>{:.1}</td><td>{:.3}</td><td>{:.3}</td><td>{:.2}</td><td>{:.0}</td></tr>",
            escaped(&result.variant),
            result.rate,
            result.unit,
            result.spread * 100.0,
            result.ratio,
            result.ratio_interval[0],
            result.ratio_interval[1],
            result.p50_us,
            result.p99_us,
            result.cpu_s,
            result.cpu_daemon_s,
            result.switches_per_op,
            result.daemon_peak_mib,
        );
    }
    page.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{recorder::Figures, summary::summarize, workload::Measure};

    #[test]
    fn names_cannot_break_the_page() {
        let rows = [Row {
            workload: "<script>".into(),
            measure: Measure::Time,
            variant: "a&b".into(),
            repetition: 0,
            figures: Figures {
                wall_ns: 5,
                operations: 1,
                ..Figures::default()
            },
            latency_curve_ns: Vec::new(),
        }];
        let floor = Floor {
            system_call_us: 0.1,
            pipe_same_cpu_us: 5.0,
            pipe_other_cpu_us: None,
            futex_same_cpu_us: 5.0,
            futex_other_cpu_us: None,
            memcpy_gib_per_s: 9.0,
        };
        let page = page(&Host::read(), &floor, "run <x>", &rows, &summarize(&rows)).unwrap();
        assert!(
            !page.contains("<script>") && page.contains("&lt;script&gt;"),
            "{page}"
        );
        assert!(page.contains("a&amp;b"));
        assert_eq!(
            page.matches("<table>").count(),
            page.matches("</table>").count()
        );
    }
}
