//! Medians, spread, and intervals.
//!
//! Of five rounds a bootstrap knows five values, and its interval of 95 % is narrower than it says.
//! What is stated is by order alone: whatever the values are distributed like, how often an interval
//! between two of them misses the median is known.

/// How often an interval is to hold what it is about.
const CONFIDENCE: f64 = 0.95;

/// Resamples of a bootstrap: enough that the interval's ends move by less than they are rounded.
const RESAMPLES: usize = 2000;

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of the values, the mean of the two middle ones if their number is even; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let values = sorted(values);
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

/// How often the interval from the `depth`-th smallest of `count` values to the `depth`-th largest
/// holds the median of what they were drawn from: each of them is below it as often as above.
fn coverage(count: usize, depth: usize) -> f64 {
    let mut ways = 1.0;
    let mut below = 0.0;
    for missed in 0..depth {
        below += ways;
        ways *= (count - missed) as f64 / (missed + 1) as f64;
    }
    1.0 - 2.0 * below / 2f64.powi(count as i32)
}

/// 95 % interval of a median, by order: between the two pairs of values whose coverage is next to
/// 95 %, as Hettmansperger and Sheather (1986) interpolate. Of five values it is from the lowest to
/// the highest, which holds the median in 93.75 of 100 cases; of fewer, too, in fewer cases (87.5 of
/// four, 75 of three). `[0, 0]` of no values.
pub fn median_interval(values: &[f64]) -> [f64; 2] {
    let values = sorted(values);
    let count = values.len();
    let Some((&low, &high)) = values.first().zip(values.last()) else {
        return [0.0; 2];
    };
    let depths = 1..=count / 2;
    let Some(depth) = depths.rev().find(|&d| coverage(count, d) >= CONFIDENCE) else {
        return [low, high];
    };
    // `depth` covers enough and the next one too little; the next of the two middle ones is none.
    if 2 * (depth + 1) > count {
        return [values[depth - 1], values[count - depth]];
    }
    let (wide, narrow) = (coverage(count, depth), coverage(count, depth + 1));
    let part = (wide - CONFIDENCE) / (wide - narrow);
    let (count_f, depth_f) = (count as f64, depth as f64);
    let part = (count_f - depth_f) * part / (depth_f + (count_f - 2.0 * depth_f) * part);
    let between = |outer: f64, inner: f64| outer + part * (inner - outer);
    [
        between(values[depth - 1], values[depth]),
        between(values[count - depth], values[count - depth - 1]),
    ]
}

/// 95 % percentile-bootstrap interval (Efron, 1979) of a median. Deterministic: the same values
/// give the same interval. `[0, 0]` of no values.
pub fn bootstrap_interval(values: &[f64]) -> [f64; 2] {
    if values.is_empty() {
        return [0.0; 2];
    }
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[(state % values.len() as u64) as usize]
    };
    let medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| median(&values.iter().map(|_| draw()).collect::<Vec<f64>>()))
        .collect();
    let medians = sorted(&medians);
    [
        medians[RESAMPLES * 25 / 1000],
        medians[RESAMPLES * 975 / 1000 - 1],
    ]
}

/// Each value over the one of `base` from the same round: what a round did to both is not in it.
/// Values without a partner are left out.
pub fn paired(values: &[f64], base: &[f64]) -> Vec<f64> {
    let pairs = values.iter().zip(base);
    pairs.map(|(value, base)| value / base).collect()
}

/// The largest U of Mann and Whitney (1947) for two samples of these sizes that chance alone
/// undercuts, or meets, in at most 2.5 of 100 cases; none where no U is so rare.
fn critical(first: usize, second: usize) -> Option<usize> {
    // By the number of values of the first sample that were placed: how many orders have so large
    // a U. A value of the second sample adds as many as there are of the first before it.
    let most = first * second;
    let mut orders = vec![vec![0.0; most + 1]; first + 1];
    for placed in &mut orders {
        placed[0] = 1.0;
    }
    for _ in 0..second {
        for placed in 1..=first {
            // Behind `placed` of the first sample: all orders that end so, and those that end
            // before them.
            // Largest first: the smaller ones are still without the new value.
            for u in (0..=most).rev() {
                let here = if u >= placed {
                    orders[placed][u - placed]
                } else {
                    0.0
                };
                orders[placed][u] = orders[placed - 1][u] + here;
            }
        }
    }
    let orders = &orders[first];
    let all: f64 = orders.iter().sum();
    let mut sum = 0.0;
    let rare = orders.iter().take_while(|&&count| {
        sum += count;
        sum / all <= (1.0 - CONFIDENCE) / 2.0
    });
    rare.count().checked_sub(1)
}

/// Interval of at least 95 % of the factor between two independent samples that differ by a factor
/// alone, and that factor: the median of the quotients of all pairs (Hodges and Lehmann, 1963), and
/// those between which the test of Mann and Whitney (1947) does not tell the samples apart. Of two
/// samples that are too small for any confidence (three and three), all quotients. `None` of no
/// values.
pub fn change(before: &[f64], after: &[f64]) -> Option<(f64, [f64; 2])> {
    let quotients: Vec<f64> = before
        .iter()
        .flat_map(|before| after.iter().map(move |after| after / before))
        .collect();
    let quotients = sorted(&quotients);
    let last = quotients.len().checked_sub(1)?;
    let outer = critical(before.len(), after.len()).unwrap_or(0);
    Some((
        median(&quotients),
        [quotients[outer], quotients[last - outer]],
    ))
}

/// The value below which so large a part of the values lies, 0 ..= 1; 0 of none.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let values = sorted(values);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(0.0)
}

/// How far an interval reaches to either side, as a part of its middle; 0 of `[0, 0]`.
pub fn reach([low, high]: [f64; 2]) -> f64 {
    if low + high == 0.0 {
        0.0
    } else {
        (high - low) / (high + low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::files::places;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn coverage_is_that_of_tables_of_the_sign_test() {
        let known = [
            (3, 1, 0.75),
            (5, 1, 0.9375),
            (6, 1, 0.96875),
            (8, 2, 0.929_687_5),
            (9, 2, 0.960_937_5),
            (10, 2, 0.978_515_625),
        ];
        for (count, depth, expected) in known {
            assert!((coverage(count, depth) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn an_interval_of_few_is_from_the_lowest_to_the_highest() {
        assert_eq!(median_interval(&[3.0, 1.0, 2.0, 5.0, 4.0]), [1.0, 5.0]);
        assert_eq!(median_interval(&[2.0, 1.0]), [1.0, 2.0]);
        assert_eq!(median_interval(&[7.0]), [7.0, 7.0]);
        assert_eq!(median_interval(&[]), [0.0; 2]);
    }

    #[test]
    fn an_interval_of_more_lies_between_two_pairs() {
        // Of nine: 0.0781 of the way in coverage, 0.2288 of it in values.
        let nine: Vec<f64> = (1..=9).map(f64::from).collect();
        let [low, high] = median_interval(&nine);
        assert!((low - 2.2288).abs() < 1e-3 && (high - 7.7712).abs() < 1e-3);
        let six: Vec<f64> = (1..=6).map(f64::from).collect();
        let [low, high] = median_interval(&six);
        assert!((1.0..2.0).contains(&low) && (5.0..6.0).contains(&high));
    }

    #[test]
    fn stated_intervals_hold_the_median_as_often_as_they_say() {
        // Draws of 0 ..= 1, whose median is a half.
        let mut words = places(u64::MAX);
        let mut draw = || words.next().unwrap() as f64 / u64::MAX as f64;
        for (count, expected) in [(5, 0.9375), (7, 0.95), (9, 0.95)] {
            let held = (0..4000).filter(|_| {
                let values: Vec<f64> = (0..count).map(|_| draw()).collect();
                let [low, high] = median_interval(&values);
                (low..=high).contains(&0.5)
            });
            let part = held.count() as f64 / 4000.0;
            assert!((part - expected).abs() < 0.03, "{count}: {part}");
        }
    }

    #[test]
    fn a_bootstrap_of_five_is_from_the_lowest_to_the_highest() {
        let values = [2.0, 2.5, 1.0, 3.0, 2.2];
        assert_eq!(bootstrap_interval(&values), [1.0, 3.0]);
        assert_eq!(bootstrap_interval(&[]), [0.0; 2]);
    }

    #[test]
    fn critical_values_are_those_of_the_tables() {
        // Two-sided, 5 %: Siegel (1956), table K.
        let known = [
            (3, 3, None),
            (4, 4, Some(0)),
            (5, 5, Some(2)),
            (5, 7, Some(5)),
            (7, 5, Some(5)),
            (6, 6, Some(5)),
            (7, 7, Some(8)),
            (8, 8, Some(13)),
            (10, 10, Some(23)),
        ];
        for (first, second, expected) in known {
            assert_eq!(critical(first, second), expected, "{first}, {second}");
        }
    }

    #[test]
    fn a_change_is_between_quotients_of_pairs() {
        let before = [1.0, 2.0, 4.0, 8.0, 16.0];
        let (middle, [low, high]) = change(&before, &before).unwrap();
        // The quotients are powers of 2, as often as five less the power: the third is 1/8.
        assert_eq!((middle, low, high), (1.0, 0.125, 8.0));
        assert_eq!(change(&[1.0], &[3.0]).unwrap(), (3.0, [3.0, 3.0]));
        assert!(change(&[1.0], &[]).is_none());
    }

    #[test]
    fn a_change_that_is_within_the_noise_is_none() {
        let before = [0.10, 0.11, 0.105, 0.12, 0.09];
        let (_, [low, high]) = change(&before, &[0.11, 0.10, 0.1, 0.115, 0.095]).unwrap();
        assert!(low <= 1.0 && 1.0 <= high, "{low} {high}");
        let (_, [low, _]) = change(&before, &before.map(|ratio| ratio * 2.0)).unwrap();
        assert!(low > 1.4, "{low}");
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
    fn reach_and_spread_are_parts_of_the_middle() {
        assert!((spread(&[90.0, 100.0, 110.0]) - 0.1).abs() < 1e-9);
        assert_eq!(spread(&[0.0, 0.0]), 0.0);
        assert!((reach([0.9, 1.1]) - 0.1).abs() < 1e-9);
        assert_eq!(reach([0.0, 0.0]), 0.0);
    }
}
