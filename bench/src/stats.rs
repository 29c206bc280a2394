//! Medians, spread, and intervals by the bootstrap.

/// Resamples of a bootstrap: enough that the interval's ends move by less than they are rounded.
const RESAMPLES: usize = 2000;

/// The middle of the values, the mean of the two middle ones if their number is even; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[half],
        _ => values[half - 1].midpoint(values[half]),
    }
}

/// Half of the values lie this close to the median, as a part of it (median absolute deviation); 0
/// where the median is 0.
pub fn spread(values: &[f64]) -> f64 {
    let middle = median(values);
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    if middle == 0.0 {
        0.0
    } else {
        median(&deviations) / middle
    }
}

/// Draws with replacement, the same ones each time (xorshift64, Marsaglia 2003).
struct Resampler(u64);

impl Resampler {
    fn new() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    /// The median of as many values as there are, drawn from them.
    fn median(&mut self, values: &[f64]) -> f64 {
        let drawn: Vec<f64> = values
            .iter()
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                values[(self.0 % values.len() as u64) as usize]
            })
            .collect();
        median(&drawn)
    }
}

/// The middle 95 % of what `draw` gives.
fn percentile_interval(mut draw: impl FnMut(&mut Resampler) -> f64) -> [f64; 2] {
    let mut resampler = Resampler::new();
    let mut drawn: Vec<f64> = (0..RESAMPLES).map(|_| draw(&mut resampler)).collect();
    drawn.sort_by(f64::total_cmp);
    [
        drawn[RESAMPLES * 25 / 1000],
        drawn[RESAMPLES * 975 / 1000 - 1],
    ]
}

/// 95 % percentile-bootstrap interval (Efron, 1979) of a median. Deterministic: the same values
/// give the same interval. `[0, 0]` of no values.
pub fn median_interval(values: &[f64]) -> [f64; 2] {
    if values.is_empty() {
        return [0.0; 2];
    }
    percentile_interval(|resampler| resampler.median(values))
}

/// 95 % percentile-bootstrap interval of the ratio of two medians. `[0, 0]` of no values.
pub fn ratio_interval(values: &[f64], base: &[f64]) -> [f64; 2] {
    if values.is_empty() || base.is_empty() {
        return [0.0; 2];
    }
    percentile_interval(|resampler| resampler.median(values) / resampler.median(base))
}

/// 95 % percentile-bootstrap interval of how a ratio of medians changed between two runs:
/// `(b / base_b) / (a / base_a)`.
pub fn change_interval([a, base_a]: [&[f64]; 2], [b, base_b]: [&[f64]; 2]) -> [f64; 2] {
    if [a, base_a, b, base_b]
        .iter()
        .any(|values| values.is_empty())
    {
        return [0.0; 2];
    }
    percentile_interval(|resampler| {
        let before = resampler.median(a) / resampler.median(base_a);
        resampler.median(b) / resampler.median(base_b) / before
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_interval_holds_the_ratio_and_widens_with_the_noise() {
        let quiet = ratio_interval(&[200.0, 201.0, 199.0, 200.0, 202.0], &[100.0; 5]);
        let noisy = ratio_interval(&[120.0, 280.0, 199.0, 200.0, 310.0], &[100.0; 5]);
        assert!(quiet[0] <= 2.0 && 2.0 <= quiet[1], "{quiet:?}");
        assert!(
            noisy[1] - noisy[0] > quiet[1] - quiet[0],
            "{noisy:?} {quiet:?}"
        );
    }

    #[test]
    fn nothing_has_no_interval() {
        assert_eq!(median_interval(&[]), [0.0; 2]);
        assert_eq!(ratio_interval(&[1.0], &[]), [0.0; 2]);
    }

    #[test]
    fn a_machine_that_became_faster_as_a_whole_is_no_change() {
        let (a, base_a) = ([10.0, 11.0, 10.5], [100.0, 104.0, 102.0]);
        let twice = |values: [f64; 3]| values.map(|value| value * 2.0);
        let [low, high] = change_interval([&a, &base_a], [&twice(a), &twice(base_a)]);
        assert!(low <= 1.0 && 1.0 <= high, "{low} {high}");
        let [low, _] = change_interval([&a, &base_a], [&twice(a), &base_a]);
        assert!(low > 1.5, "{low}");
    }

    #[test]
    fn spread_is_a_part_of_the_median() {
        assert!((spread(&[90.0, 100.0, 110.0]) - 0.1).abs() < 1e-9);
        assert_eq!(spread(&[0.0, 0.0]), 0.0);
    }
}
