//! Plots of a run, as SVG.

use crate::{recorder::QUANTILES, run::Row, summary::Summary};
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const WIDTH: u32 = 860;
/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(150, 140, 30),
];

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// One bar a variant: its rate, with the interval of its ratio to the baseline as an error bar.
///
/// # Errors
///
/// If the drawing library fails.
pub fn rates(results: &[&Summary]) -> Result<String> {
    let height = 60 + 34 * results.len() as u32;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let base = results.first().map_or(1.0, |first| first.rate);
        let top = results
            .iter()
            .map(|result| result.rate.max(result.ratio_interval[1] * base))
            .fold(0.0, f64::max);
        let unit = results.first().map_or("", |first| first.unit);
        let rows = results.len() as f64;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(190)
            .build_cartesian_2d(0.0..top * 1.08, 0.0..rows)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(unit)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .draw()
            .map_err(failed)?;
        for (index, result) in results.iter().enumerate() {
            let middle = rows - index as f64 - 0.5;
            let bar = [(0.0, middle - 0.35), (result.rate, middle + 0.35)];
            let style = colour(index).mix(0.75).filled();
            chart
                .draw_series([Rectangle::new(bar, style)])
                .map_err(failed)?;
            let ends = result.ratio_interval.map(|ratio| (ratio * base, middle));
            chart
                .draw_series([PathElement::new(ends, BLACK.stroke_width(2))])
                .map_err(failed)?;
            // Names stand left of the axis, in the drawing area's own pixels.
            let (_, y) = chart.backend_coord(&(0.0, middle));
            let text = format!("{}  ({:.2})", result.variant, result.ratio);
            area.draw(&Text::new(text, (10, y - 7), ("sans-serif", 14)))
                .map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// One curve a variant: which part of the operations took no longer than so many microseconds
/// (logarithmic), medians over repetitions.
///
/// # Errors
///
/// If the drawing library fails.
pub fn latencies(rows: &[Row], workload: &str, variants: &[&str]) -> Result<String> {
    let curves: Vec<Vec<(f64, f64)>> = variants
        .iter()
        .map(|variant| curve(rows, workload, variant))
        .collect();
    let points = || curves.iter().flatten().map(|point| point.0);
    let (low, high) = (
        points().fold(f64::MAX, f64::min),
        points().fold(0.0, f64::max),
    );
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 320)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(46)
            .build_cartesian_2d((low.max(0.1)..high.max(1.0)).log_scale(), 0.0..1.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("µs (logarithmic)")
            .y_desc("part of operations")
            .draw()
            .map_err(failed)?;
        for (index, (points, variant)) in curves.into_iter().zip(variants).enumerate() {
            let style = colour(index).stroke_width(2);
            chart
                .draw_series(LineSeries::new(points, style))
                .map_err(failed)?
                .label(*variant)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn curve(rows: &[Row], workload: &str, variant: &str) -> Vec<(f64, f64)> {
    let mine: Vec<&Row> = rows
        .iter()
        .filter(|row| row.workload == workload && row.variant == variant)
        .collect();
    QUANTILES
        .iter()
        .enumerate()
        .filter_map(|(index, &quantile)| {
            let values: Vec<f64> = mine
                .iter()
                .filter_map(|row| Some(*row.latency_curve_ns.get(index)? as f64 / 1e3))
                .collect();
            (!values.is_empty()).then(|| (crate::summary::median(&values), quantile))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{recorder::Figures, summary::summarize, workload::Measure};

    fn rows() -> Vec<Row> {
        ["native", "classic", "uring"]
            .iter()
            .enumerate()
            .map(|(index, variant)| Row {
                workload: "stat".into(),
                measure: Measure::Operations,
                variant: (*variant).into(),
                repetition: 0,
                figures: Figures {
                    wall_ns: 1_000_000_000,
                    operations: 1000 * (index as u64 + 1),
                    ..Figures::default()
                },
                latency_curve_ns: (1..=QUANTILES.len() as u64).map(|n| n * 1000).collect(),
            })
            .collect()
    }

    #[test]
    fn plots_name_every_variant() {
        let rows = rows();
        let results = summarize(&rows);
        let bars = rates(&results.iter().collect::<Vec<_>>()).unwrap();
        let curves = latencies(&rows, "stat", &["native", "classic", "uring"]).unwrap();
        for svg in [bars, curves] {
            assert!(svg.starts_with("<svg"));
            for variant in ["native", "classic", "uring"] {
                assert!(svg.contains(variant), "{variant}");
            }
        }
    }

    #[test]
    fn a_run_without_latencies_still_draws() {
        let mut rows = rows();
        rows.iter_mut().for_each(|row| row.latency_curve_ns.clear());
        latencies(&rows, "stat", &["native"]).unwrap();
    }
}
