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

/// Each value over the one of `base` from the same round: what a round did to both is not in it.
/// Values without a partner are left out.
pub fn paired(values: &[f64], base: &[f64]) -> Vec<f64> {
    let pairs = values.iter().zip(base);
    pairs.map(|(value, base)| value / base).collect()
}

/// 95 % percentile-bootstrap interval of how the median of `before` changes to that of `after`, as
/// a factor; the two were drawn independently. `[0, 0]` of no values.
pub fn change_interval(before: &[f64], after: &[f64]) -> [f64; 2] {
    if before.is_empty() || after.is_empty() {
        return [0.0; 2];
    }
    percentile_interval(|resampler| resampler.median(after) / resampler.median(before))
}

/// The value below which so large a part of the values lies, 0 ..= 1; 0 of none.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(0.0)
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
    fn the_interval_holds_the_median_and_widens_with_the_noise() {
        let quiet = median_interval(&[2.0, 2.01, 1.99, 2.0, 2.02]);
        let noisy = median_interval(&[1.2, 2.8, 1.99, 2.0, 3.1]);
        assert!(quiet[0] <= 2.0 && 2.0 <= quiet[1], "{quiet:?}");
        assert!(
            noisy[1] - noisy[0] > quiet[1] - quiet[0],
            "{noisy:?} {quiet:?}"
        );
    }

    #[test]
    fn what_a_round_does_to_both_is_not_in_a_ratio() {
        let ratios = paired(&[10.0, 20.0, 5.0], &[100.0, 200.0, 50.0]);
        assert_eq!(median_interval(&ratios), [0.1, 0.1]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.75), 4.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn nothing_has_no_interval() {
        assert_eq!(median_interval(&[]), [0.0; 2]);
        assert_eq!(change_interval(&[1.0], &[]), [0.0; 2]);
    }

    #[test]
    fn a_change_that_is_within_the_noise_is_none() {
        let before = [0.10, 0.11, 0.105, 0.12, 0.09];
        let [low, high] = change_interval(&before, &[0.11, 0.10, 0.1, 0.115, 0.095]);
        assert!(low <= 1.0 && 1.0 <= high, "{low} {high}");
        let [low, _] = change_interval(&before, &before.map(|ratio| ratio * 2.0));
        assert!(low > 1.4, "{low}");
    }

    #[test]
    fn spread_is_a_part_of_the_median() {
        assert!((spread(&[90.0, 100.0, 110.0]) - 0.1).abs() < 1e-9);
        assert_eq!(spread(&[0.0, 0.0]), 0.0);
    }
}
