//! How many requests a rule lets pass in a time: a token bucket in one word.
//!
//! The word is the time up to which the bucket has been drawn upon, in nanoseconds of the monotonic
//! clock: each request moves it by the time that a token takes to come back, and one that would move it
//! further ahead of the clock than the bucket holds is one too many (the generic cell rate algorithm,
//! ITU-T I.371).

use crate::sync::RuleBucket;

/// How often a draw is tried while others draw. Who loses as often is one too many: the limit is never
/// exceeded.
const TRIES: u32 = 4;
/// Further apart two clocks never are.
const APART_NS: u64 = 1_000_000_000;

/// Draws a token: one comes back every `interval_ns`, and the bucket holds those of `span_ns` besides the
/// one that is drawn.
#[inline(always)]
pub fn draw(bucket: &RuleBucket, now_ns: u64, interval_ns: u64, span_ns: u64) -> bool {
    for _ in 0..TRIES {
        let drawn = bucket.now();
        // Further ahead than any draw moves it, clocks of CPUs being a little apart: of somebody gone mad.
        let most = now_ns.saturating_add(span_ns).saturating_add(interval_ns);
        let is_mad = drawn > most.saturating_add(APART_NS);
        let from = if drawn < now_ns || is_mad {
            now_ns
        } else {
            drawn
        };
        if from - now_ns > span_ns {
            return false;
        }
        if bucket.spend(drawn, from.wrapping_add(interval_ns)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn as_many_pass_as_the_bucket_holds_and_then_one_each_time_a_token_came_back() {
        let bucket = RuleBucket::default();
        let (interval, burst) = (SECOND / 10, 5);
        let draw = |now| draw(&bucket, now, interval, (burst - 1) * interval);
        let start = 100 * SECOND;
        assert_eq!((0..20).filter(|_| draw(start)).count(), burst as usize);
        assert!(!draw(start + interval - 1));
        assert!(draw(start + interval));
        assert!(!draw(start + interval));
        assert_eq!(
            (0..20).filter(|_| draw(start + SECOND)).count(),
            burst as usize
        );
    }

    #[test]
    fn a_word_from_the_far_future_recovers() {
        let bucket = RuleBucket::new(u64::MAX);
        assert_eq!((0..9).filter(|_| draw(&bucket, SECOND, 10, 20)).count(), 3);
    }
}
