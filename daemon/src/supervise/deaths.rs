//! How often a daemon may die before it is left dead.

use std::time::{Duration, Instant};

/// Most deaths within [`WITHIN`] that are mended.
pub const MOST: usize = 5;
/// Deaths that are longer ago do not count.
pub const WITHIN: Duration = Duration::from_secs(60);
/// The pause after the second death; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// When daemons died.
#[derive(Debug, Default)]
pub struct Deaths(Vec<Instant>);

impl Deaths {
    /// Counts a death, and says how long to wait before the next daemon is started; `None` if it
    /// is better not to.
    pub fn one_more(&mut self) -> Option<Duration> {
        self.one_more_at(Instant::now())
    }

    fn one_more_at(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|&death| now.duration_since(death) < WITHIN);
        let before = self.0.len();
        self.0.push(now);
        match before {
            0 => Some(Duration::ZERO),
            // At most 2^(MOST - 2) times.
            1..MOST => Some(PAUSE * (1 << (before - 1))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_dies_at_once_is_not_started_for_ever() {
        let mut deaths = Deaths::default();
        let now = Instant::now();
        let pauses: Vec<_> = (0..=MOST).map(|_| deaths.one_more_at(now)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(0), ms(100), ms(200), ms(400), ms(800), None]);
    }

    #[test]
    fn a_daemon_that_dies_now_and_then_is_replaced_at_once_each_time() {
        let mut deaths = Deaths::default();
        let start = Instant::now();
        for minute in 0..100 {
            let pause = deaths.one_more_at(start + WITHIN * minute);
            assert_eq!(pause, Some(Duration::ZERO));
        }
    }
}
