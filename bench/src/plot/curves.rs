//! Lines: how latencies are distributed, how rates grow with threads.

use super::{bars::label, colour, drawn, failed};
use crate::{record::Row, recorder::QUANTILES, stats::median};
use anyhow::Result;
use plotters::prelude::*;

/// A line with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub label: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

const HEIGHT: u32 = 340;
/// Width of what stands right of the lines, in pixels.
const NAMES: u32 = 225;

/// One curve a variant: which part of the operations took no longer than so many microseconds
/// (logarithmic), medians over repetitions.
///
/// # Errors
///
/// If the drawing library fails.
pub fn latencies(rows: &[Row], group: &str, workload: &str, variants: &[&str]) -> Result<String> {
    let lines: Vec<Line> = variants
        .iter()
        .map(|variant| Line {
            label: (*variant).to_owned(),
            points: curve(rows, group, workload, variant),
        })
        .collect();
    let points = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|point| point.0)
    };
    let [low, high] = range(points(), 0.05);
    drawn(HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(NAMES)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d((low..high).log_scale(), 0.0..1.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .x_desc("µs (logarithmic)")
            .y_desc("part of operations")
            .draw()
            .map_err(failed)?;
        let (right, _) = chart.backend_coord(&(high, 1.0));
        for (index, line) in lines.into_iter().enumerate() {
            let style = colour(index).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points, style))
                .map_err(failed)?;
            // Names stand beside the lines, where none runs.
            let (x, y) = (right + 12, 16 + 17 * index as i32);
            area.draw(&PathElement::new([(x, y), (x + 18, y)], style))
                .map_err(failed)?;
            let text = Text::new(line.label, (x + 24, y - 6), ("sans-serif", 13));
            area.draw(&text).map_err(failed)?;
        }
        Ok(())
    })
}

fn curve(rows: &[Row], group: &str, workload: &str, variant: &str) -> Vec<(f64, f64)> {
    let mine: Vec<&Row> = rows
        .iter()
        .filter(|row| row.group == group && row.workload == workload && row.variant == variant)
        .collect();
    QUANTILES
        .iter()
        .enumerate()
        .filter_map(|(index, &quantile)| {
            let values: Vec<f64> = mine
                .iter()
                .filter_map(|row| Some(*row.latency_curve_ns.get(index)? as f64 / 1e3))
                .collect();
            (!values.is_empty()).then(|| (median(&values), quantile))
        })
        .collect()
}

/// The ends of a logarithmic axis: from the lowest value, at least `least`, to the highest, at least
/// ten times that.
fn range(values: impl Iterator<Item = f64>, least: f64) -> [f64; 2] {
    let (low, high) = values.fold((f64::MAX, least), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    // Without values the axis is there all the same.
    let low = if low > high { least } else { low.max(least) };
    [low, high.max(low * 10.0)]
}

/// Rates over numbers of threads, a line a variant.
///
/// # Errors
///
/// If the drawing library fails.
pub fn scaling(lines: &[Line], workload: &str) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    // Threads double from point to point: so does the axis.
    let doublings = |&(threads, rate): &(f64, f64)| (threads.log2(), rate);
    let most = points().map(|point| point.0.log2()).fold(1.0, f64::max);
    let [low, top] = range(points().map(|point| point.1), 1.0);
    drawn(HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(170)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(-0.1..most + 0.1, (low * 0.8..top * 1.2).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .x_desc("threads")
            .y_desc(format!("{workload} per second (logarithmic)"))
            .x_label_formatter(&|doublings| whole_threads(*doublings))
            .y_label_formatter(&|rate| label(*rate, top))
            .draw()
            .map_err(failed)?;
        let mut lowest = i32::MIN;
        let mut ends: Vec<(i32, i32, usize)> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let style = colour(index).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().map(doublings), style))
                .map_err(failed)?;
            let dots = line
                .points
                .iter()
                .map(|point| Circle::new(doublings(point), 3, style.filled()));
            chart.draw_series(dots).map_err(failed)?;
            if let Some(end) = line.points.last() {
                let (x, y) = chart.backend_coord(&doublings(end));
                ends.push((y, x, index));
            }
        }
        // Names stand at the ends of their lines, one below the other.
        ends.sort_unstable();
        for (y, x, index) in ends {
            let y = y.max(lowest.saturating_add(14));
            lowest = y;
            let style = ("sans-serif", 13).into_font().color(&colour(index));
            let text = Text::new(lines[index].label.clone(), (x + 14, y - 6), style);
            area.draw(&text).map_err(failed)?;
        }
        Ok(())
    })
}

/// A number of threads on an axis of its doublings: nothing between two doublings.
fn whole_threads(doublings: f64) -> String {
    if (doublings - doublings.round()).abs() < 0.01 {
        format!("{:.0}", doublings.exp2())
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn a_curve_a_variant() {
        let record = record();
        let svg = latencies(&record.rows, "transport", "stat", &["native", "shm"]).unwrap();
        assert!(svg.contains("native") && svg.contains("shm"));
    }

    #[test]
    fn only_whole_threads_stand_at_the_axis() {
        assert_eq!(whole_threads(0.0), "1");
        assert_eq!(whole_threads(0.5), "");
        assert_eq!(whole_threads(2.0), "4");
    }

    #[test]
    fn a_run_without_latencies_still_draws() {
        latencies(&[], "transport", "stat", &["native"]).unwrap();
        scaling(&[], "stat").unwrap();
    }
}
