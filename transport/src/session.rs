//! Whether a mount runs or closes (protocol 11).

use crate::layout::Control;

/// The state of a mount. An unknown value counts as [`Closing`](Self::Closing): then programs leave
/// everything to the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Session {
    /// Programs answer and dispatch.
    Running,
    /// Programs leave every completion standing. Also before the first run: the word of fresh
    /// memory.
    Closing,
}

const CLOSING: u32 = 0;
const RUNNING: u32 = 1;

impl Session {
    /// What a program finds at an arrival.
    #[inline(always)]
    pub fn of(control: &Control) -> Self {
        Self::from_word(control.session.observe())
    }

    /// Lets programs begin.
    pub fn start(control: &Control) -> Self {
        Self::from_word(control.session.change(RUNNING))
    }

    /// Makes programs stop, and returns the state before. One that looked just before may still
    /// answer or dispatch.
    pub fn close(control: &Control) -> Self {
        Self::from_word(control.session.change(CLOSING))
    }

    #[inline(always)]
    const fn from_word(word: u32) -> Self {
        if word == RUNNING {
            Self::Running
        } else {
            Self::Closing
        }
    }
}
