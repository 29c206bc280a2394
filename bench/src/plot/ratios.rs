//! Ratios with their intervals, on one logarithmic axis: what the verdicts come to.

use super::{drawn, failed};
use crate::verdict::Verdict;
use anyhow::Result;
use plotters::prelude::*;

/// The ends of the axis: what lies outside is drawn at them.
const ENDS: [f64; 2] = [0.01, 100.0];

/// Draws them, the first at the top.
///
/// # Errors
///
/// If the drawing library fails.
pub fn draw(verdicts: &[Verdict]) -> Result<String> {
    let height = 70 + 24 * verdicts.len() as u32;
    let rows = verdicts.len().max(1) as f64;
    let within = |ratio: f64| ratio.clamp(ENDS[0], ENDS[1]);
    let ends = verdicts.iter().flat_map(|verdict| verdict.interval);
    let low = within(ends.clone().fold(0.5, f64::min)) * 0.8;
    let high = within(ends.fold(2.0, f64::max)) * 1.25;
    drawn(height, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(440)
            .build_cartesian_2d((low..high).log_scale(), 0.0..rows)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .disable_y_mesh()
            .disable_y_axis()
            .x_label_formatter(&|ratio| tick(*ratio))
            .x_desc("ratio of rates (logarithmic): right of 1 is faster")
            .draw()
            .map_err(failed)?;
        let one = [(1.0, 0.0), (1.0, rows)];
        chart
            .draw_series([PathElement::new(one, BLACK.mix(0.5))])
            .map_err(failed)?;
        for (index, verdict) in verdicts.iter().enumerate() {
            let middle = rows - index as f64 - 0.5;
            let colour = match verdict.word() {
                "faster" => RGBColor(0, 158, 115),
                "slower" => RGBColor(213, 94, 0),
                _ => RGBColor(110, 110, 110),
            };
            let interval = verdict.interval.map(|end| (within(end), middle));
            chart
                .draw_series([PathElement::new(interval, colour.stroke_width(3))])
                .map_err(failed)?;
            let dot = Circle::new((within(verdict.ratio), middle), 4, colour.filled());
            chart.draw_series([dot]).map_err(failed)?;
            let (_, y) = chart.backend_coord(&(1.0, middle));
            let (workload, variant) = (&verdict.workload, &verdict.variant);
            let label = format!("{workload}: {variant} / {}", verdict.against);
            let text = Text::new(label, (10, y - 6), ("sans-serif", 13));
            area.draw(&text).map_err(failed)?;
        }
        Ok(())
    })
}

/// What stands at a line of the axis: 1, 2 and 5 times a power of ten; others are too close.
fn tick(ratio: f64) -> String {
    let power = 10f64.powf(ratio.log10().floor());
    let near = |times: f64| (ratio / (power * times) - 1.0).abs() < 0.01;
    if [1.0, 2.0, 5.0, 10.0].into_iter().any(near) {
        crate::report::ratio(ratio)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::record, verdict::verdicts};

    #[test]
    fn only_some_lines_have_a_number() {
        assert_eq!(tick(0.300_000_000_000_4), "");
        assert_eq!(tick(0.2), "0.20");
        assert_eq!(tick(1.0), "1.00");
    }

    #[test]
    fn every_verdict_has_a_line() {
        let verdicts = verdicts(&record().rows, &[]);
        let svg = draw(&verdicts).unwrap();
        assert!(svg.contains("stat: shm / classic"));
        draw(&[]).unwrap();
    }
}
