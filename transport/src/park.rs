//! Parking: how a consumer sleeps without losing a wake-up (protocol 7).

use crate::{layout::Park, sync::weakened};

/// The word of a consumer that runs.
pub const AWAKE: u32 = 0;
/// The word of a consumer that sleeps, or is about to. What the futex call compares with.
pub const ASLEEP: u32 = 1;

/// The consumer's end: the right to sleep on one parking word.
#[derive(Debug)]
pub struct Sleeper<'m> {
    park: &'m Park,
}

/// What a consumer is to do after it announced its sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// There is work after all; the announcement is withdrawn.
    Work,
    /// Sleep until the word is no longer [`ASLEEP`].
    Sleep,
}

impl<'m> Sleeper<'m> {
    /// The sleeper of this word. There is one.
    pub fn new(park: &'m Park) -> Self {
        Self { park }
    }

    /// Announces the sleep, and looks once more for work with `has_work`. May be called after every
    /// lane was found empty. After [`Rest::Sleep`] and the sleep itself comes
    /// [`wake_up`](Self::wake_up).
    pub fn rest(&mut self, has_work: impl FnOnce() -> bool) -> Rest {
        self.park.0.announce(ASLEEP);
        if !weakened!(ParkNoRecheck) && has_work() {
            self.park.0.announce(AWAKE);
            return Rest::Work;
        }
        Rest::Sleep
    }

    /// Says that the sleep is over, whatever ended it. Whether a producer had said so before.
    pub fn wake_up(&mut self) -> bool {
        self.park.0.announce(AWAKE) == AWAKE
    }
}

/// The producer's end, after its publication: whether the consumer has to be woken. Of several
/// producers one gets `true`.
#[inline(always)]
pub fn must_wake(park: &Park) -> bool {
    park.0.claim(AWAKE) == ASLEEP
}
