//! Horizontal bars, each with an interval.

use super::{colour, drawn, failed};
use anyhow::Result;
use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    prelude::*,
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What stands left of it.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// The ends of its error bar.
    pub interval: [f64; 2],
    /// Bars that belong together have the same, by number.
    pub colour: usize,
}

/// Width of what stands left of the bars, in pixels.
const LABELS: u32 = 345;

/// Draws them, the first at the top.
///
/// # Errors
///
/// If the drawing library fails.
pub fn draw(bars: &[Bar], unit: &str) -> Result<String> {
    let height = 60 + 26 * bars.len() as u32;
    let top = bars
        .iter()
        .map(|bar| bar.value.max(bar.interval[1]))
        .fold(0.0, f64::max);
    // An axis needs some length.
    let top = if top > 0.0 { top * 1.05 } else { 1.0 };
    let lowest = bars.iter().map(|bar| bar.value.min(bar.interval[0]));
    let lowest = lowest.fold(f64::MAX, f64::min);
    // Next to a bar twenty times as long nobody sees how long a bar is.
    let (low, unit) = if lowest > 0.0 && lowest * 20.0 < top {
        (lowest / 2.0, format!("{unit} (logarithmic)"))
    } else {
        (0.0, unit.to_owned())
    };
    drawn(height, |area| {
        let axis = Axis {
            low,
            top,
            unit: &unit,
        };
        if low > 0.0 {
            on(area, (low..top).log_scale(), &axis, bars)
        } else {
            on(area, 0.0..top, &axis, bars)
        }
    })
}
/// What the bars stand on, and what stands at it.
struct Axis<'a> {
    /// Its left end.
    low: f64,
    /// Its right end.
    top: f64,
    /// What is measured.
    unit: &'a str,
}

impl Axis<'_> {
    /// What stands at a line: of a logarithmic axis at powers of ten alone, others are too close.
    fn label(&self, value: f64) -> String {
        let power = value.log10();
        if self.low > 0.0 && (power - power.round()).abs() > 0.001 {
            return String::new();
        }
        label(value, if self.low > 0.0 { value } else { self.top })
    }
}

/// The bars on an axis of a kind.
fn on<X>(area: &Area<'_>, range: X, axis: &Axis<'_>, bars: &[Bar]) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let rows = bars.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(range, 0.0..rows)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .max_light_lines(1)
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .x_desc(axis.unit)
        .x_label_formatter(&|value| axis.label(*value))
        .draw()
        .map_err(failed)?;
    for (index, bar) in bars.iter().enumerate() {
        let middle = rows - index as f64 - 0.5;
        let corners = [(axis.low, middle - 0.35), (bar.value, middle + 0.35)];
        let style = colour(bar.colour).mix(0.75).filled();
        chart
            .draw_series([Rectangle::new(corners, style)])
            .map_err(failed)?;
        let ends = bar.interval.map(|end| (end, middle));
        chart
            .draw_series([PathElement::new(ends, RED.stroke_width(2))])
            .map_err(failed)?;
        for (x, _) in ends {
            let tick = [(x, middle - 0.15), (x, middle + 0.15)];
            chart
                .draw_series([PathElement::new(tick, RED.stroke_width(2))])
                .map_err(failed)?;
        }
        // Names stand left of the axis, in the drawing area's own pixels.
        let (_, y) = chart.backend_coord(&(axis.low, middle));
        let text = Text::new(bar.label.clone(), (10, y - 6), ("sans-serif", 13));
        area.draw(&text).map_err(failed)?;
    }
    Ok(())
}

/// A number on an axis that ends at `top`.
pub(super) fn label(value: f64, top: f64) -> String {
    match top {
        _ if value.abs() >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        top if top < 2.0 => format!("{value:.2}"),
        top if top < 20.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_of_no_length_still_draws() {
        let bar = Bar {
            label: "nothing".into(),
            value: 0.0,
            interval: [0.0; 2],
            colour: 0,
        };
        assert!(draw(&[bar], "x").unwrap().contains("nothing"));
        draw(&[], "x").unwrap();
    }

    #[test]
    fn bars_that_differ_much_stand_on_a_logarithmic_axis() {
        let bar = |value: f64| Bar {
            label: "bar".into(),
            value,
            interval: [value, value],
            colour: 1,
        };
        let drawn = |values: [f64; 2]| draw(&values.map(bar), "x").unwrap();
        assert!(drawn([1000.0, 10.0]).contains("logarithmic"));
        assert!(!drawn([1000.0, 100.0]).contains("logarithmic"));
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        assert_eq!(label(120_000.0, 500_000.0), "120k");
        assert_eq!(label(0.25, 1.0), "0.25");
        assert_eq!(label(300.0, 900.0), "300");
    }
}
