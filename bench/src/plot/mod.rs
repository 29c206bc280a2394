//! Plots of a run, as SVG.
//!
//! | module | what it draws |
//! | --- | --- |
//! | [`bars`] | a bar a variant, with its interval |
//! | [`curves`] | lines: latency distributions, scaling with threads |
//! | [`ratios`] | verdicts: ratios with their intervals on one axis |

pub mod bars;
pub mod curves;
pub mod ratios;

use crate::{ablation::ALL_ON, summary::Summary};
use anyhow::{Result, anyhow};
use bars::Bar;
use curves::Line;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea, SVGBackend},
    style::{RGBColor, WHITE},
};

const WIDTH: u32 = 860;

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008), and a
/// few more for plots with more lines than there are of those.
const COLOURS: [RGBColor; 14] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(150, 140, 30),
    RGBColor(136, 34, 85),
    RGBColor(130, 130, 130),
    RGBColor(51, 34, 136),
    RGBColor(120, 75, 40),
    RGBColor(68, 170, 153),
    RGBColor(250, 90, 120),
];

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// An SVG of so many pixels of height: what `draw` draws on white.
fn drawn(
    height: u32,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// One bar a variant: its rate and ratio.
///
/// # Errors
///
/// If the drawing library fails.
pub fn rates(results: &[&Summary]) -> Result<String> {
    let bars: Vec<Bar> = results
        .iter()
        .enumerate()
        .map(|(colour, result)| Bar {
            colour,
            label: format!(
                "{}  ({})",
                result.variant,
                crate::report::ratio(result.ratio)
            ),
            value: result.rate,
            interval: result.rate_interval,
        })
        .collect();
    bars::draw(&bars, results.first().map_or("", |first| &first.unit))
}

/// The plots over many workloads, by name: what copies and CPU time a GiB takes, how rates grow
/// with threads, what each stage gains. Those without figures are left out.
///
/// # Errors
///
/// If the drawing library fails.
pub fn overview(results: &[Summary]) -> Result<Vec<(&'static str, String)>> {
    let mut plots = Vec::new();
    for (name, workload) in [
        ("copies", "read stream 1M"),
        ("copies-write", "write stream 1M"),
    ] {
        let bars = copies(results, workload);
        if !bars.is_empty() {
            plots.push((name, bars::draw(&bars, "CPU seconds per GiB")?));
        }
    }
    for (name, workload) in [
        ("scaling", "stat"),
        ("scaling-fstat", "fstat"),
        ("scaling-read", "random read 4K"),
    ] {
        let lines = scaling(results, workload);
        if lines.iter().any(|line| line.points.len() > 1) {
            plots.push((name, curves::scaling(&lines, workload)?));
        }
    }
    let bars = ablation(results);
    if !bars.is_empty() {
        let unit = format!("rate over that with {ALL_ON}");
        plots.push(("ablation", bars::draw(&bars, &unit)?));
    }
    Ok(plots)
}

/// CPU time per GiB of each variant on a stream, and its copies by design.
fn copies(results: &[Summary], workload: &str) -> Vec<Bar> {
    let Some(first) = results
        .iter()
        .find(|result| result.workload == workload && result.cpu_s_per_gib > 0.0)
    else {
        return Vec::new();
    };
    results
        .iter()
        .filter(|result| result.workload == workload && result.group == first.group)
        .enumerate()
        .map(|(colour, result)| Bar {
            colour,
            label: match result.copies {
                Some(copies) => format!("{}  (copies: {copies:.0})", result.variant),
                None => result.variant.clone(),
            },
            value: result.cpu_s_per_gib,
            interval: [result.cpu_s_per_gib; 2],
        })
        .collect()
}

/// Rates of `NAME`, `NAME x2`, `NAME x4`, ... by variant.
fn scaling(results: &[Summary], workload: &str) -> Vec<Line> {
    let threads = |result: &Summary| -> Option<u32> {
        match result.workload.strip_prefix(workload)? {
            "" => Some(1),
            rest => rest.strip_prefix(" x")?.parse().ok(),
        }
    };
    let mut lines: Vec<Line> = Vec::new();
    for result in results.iter().filter(|result| result.group == "transport") {
        let Some(threads) = threads(result) else {
            continue;
        };
        let point = (f64::from(threads), result.rate);
        match lines.iter_mut().find(|line| line.label == result.variant) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                label: result.variant.clone(),
                points: vec![point],
            }),
        }
    }
    lines
}

/// Rates of the ablation's variants over that with everything on.
fn ablation(results: &[Summary]) -> Vec<Bar> {
    let base = |workload: &str| {
        results
            .iter()
            .find(|result| result.workload == workload && result.variant == ALL_ON)
    };
    let mut workloads: Vec<&str> = Vec::new();
    results
        .iter()
        .filter(|result| result.group == "ablation" && result.variant != "native")
        .filter_map(|result| {
            let base = base(&result.workload)?.rate;
            if workloads.last() != Some(&result.workload.as_str()) {
                workloads.push(&result.workload);
            }
            Some(Bar {
                colour: workloads.len(),
                label: format!("{}: {}", result.workload, result.variant),
                value: result.rate / base,
                interval: result.rate_interval.map(|rate| rate / base),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{summary::summarize, testing::record};

    #[test]
    fn plots_name_every_variant() {
        let results = summarize(&record());
        let stat: Vec<&Summary> = results.iter().filter(|r| r.workload == "stat").collect();
        let svg = rates(&stat).unwrap();
        assert!(svg.starts_with("<svg"));
        for variant in ["native", "classic", "uring", "a&amp;b &lt;c&gt;"] {
            assert!(svg.contains(variant), "{variant}");
        }
    }

    #[test]
    fn an_overview_shows_what_there_is() {
        let results = summarize(&record());
        let names: Vec<&str> = overview(&results).unwrap().iter().map(|p| p.0).collect();
        assert_eq!(names, ["copies", "scaling"]);
        assert!(overview(&[]).unwrap().is_empty());
        let lines = scaling(&results, "stat");
        assert_eq!(lines[0].points.len(), 2);
    }
}
