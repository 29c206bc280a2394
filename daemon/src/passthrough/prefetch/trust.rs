//! Whether loading ahead pays, and how far ahead it may go.
//!
//! What was loaded and then asked for was of use; what was let go of without that was not. While few
//! are of use nothing is loaded but a few entries now and then, to see whether it would pay again.

/// Entries that may be held at first.
const START: usize = 512;
/// At least, and what a trial may load.
const MIN: usize = 128;
/// Entries whose fate is remembered, about.
const MEMORY: u64 = 1024;
/// Entries whose fate has to be known before loading is stopped.
const KNOWN: u64 = 256;
/// Wishes that pass before the first trial; twice as many before each further one, up to the second.
const TRIAL: (u32, u32) = (64, 8192);

/// What an assessment has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Loading goes on, or does not, as before.
    None,
    /// It is stopped.
    Stopped,
    /// It goes on.
    Resumed,
}

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct Trust {
    window: usize,
    max: usize,
    used: u64,
    known: u64,
    /// While it is stopped: wishes until the next trial, and until the one after.
    stopped: Option<(u32, u32)>,
}

impl Trust {
    /// Of a mount that holds `max` entries at most.
    pub fn new(max: usize) -> Self {
        Self {
            window: START.min(max),
            max,
            used: 0,
            known: 0,
            stopped: None,
        }
    }

    /// How many more entries may be loaded if `held` are held.
    pub fn room(&self, held: usize) -> usize {
        let window = match self.stopped {
            Some(_) => MIN.min(self.max),
            None => self.window,
        };
        window.saturating_sub(held)
    }

    /// Something could be loaded: whether it may be.
    pub fn grants(&mut self) -> bool {
        let Some((left, next)) = &mut self.stopped else {
            return true;
        };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return false;
        }
        *left = *next;
        *next = (*next * 2).min(TRIAL.1);
        true
    }

    /// Of what one directory had loaded, so many were of use, and so many not.
    pub fn assess(&mut self, used: u64, wasted: u64) -> Turn {
        let all = used + wasted;
        self.window = if used * 2 >= all {
            (self.window * 2).min(self.max)
        } else if used * 4 < all {
            (self.window / 2).max(MIN.min(self.max))
        } else {
            self.window
        };
        if self.stopped.is_some() {
            // Another threshold than that for stopping: it does not go back and forth.
            if all == 0 || used * 2 < all {
                return Turn::None;
            }
            (self.stopped, self.used, self.known) = (None, used, all);
            return Turn::Resumed;
        }
        self.used += used;
        self.known += all;
        if self.known >= KNOWN && self.used * 4 < self.known {
            self.stopped = Some((TRIAL.0, TRIAL.0 * 2));
            return Turn::Stopped;
        }
        while self.known > MEMORY {
            self.known /= 2;
            self.used /= 2;
        }
        Turn::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pays_goes_further_ahead_up_to_the_bound() {
        let mut trust = Trust::new(2000);
        assert_eq!(trust.room(0), START);
        for _ in 0..10 {
            assert_eq!(trust.assess(100, 0), Turn::None);
        }
        assert_eq!(trust.room(0), 2000);
        assert_eq!(trust.room(1999), 1);
        assert_eq!(trust.room(5000), 0);
    }

    #[test]
    fn what_does_not_pay_is_stopped_and_tried_ever_more_rarely() {
        let mut trust = Trust::new(8192);
        assert_eq!(trust.assess(10, 100), Turn::None);
        assert_eq!(trust.assess(10, 200), Turn::Stopped);
        assert_eq!(trust.room(0), MIN);
        let mut until_granted = || (1..).find(|_| trust.grants()).unwrap_or_default();
        assert_eq!(
            [until_granted(), until_granted(), until_granted()],
            [64, 128, 256]
        );
        for _ in 0..20 {
            assert!(until_granted() <= TRIAL.1);
        }
    }

    #[test]
    fn it_takes_more_to_go_on_than_not_to_be_stopped() {
        let mut trust = Trust::new(8192);
        assert_eq!(trust.assess(0, 300), Turn::Stopped);
        assert_eq!(trust.assess(40, 60), Turn::None);
        assert_eq!(trust.assess(0, 0), Turn::None);
        assert_eq!(trust.assess(60, 40), Turn::Resumed);
        assert!(trust.grants());
        assert_eq!(trust.assess(30, 70), Turn::None);
    }

    #[test]
    fn old_merits_are_forgotten() {
        let mut trust = Trust::new(8192);
        for _ in 0..1000 {
            trust.assess(100, 0);
        }
        let stopped = (0..100).find(|_| trust.assess(0, 100) == Turn::Stopped);
        assert!(stopped.is_some_and(|batches| batches < 40), "{stopped:?}");
    }
}
