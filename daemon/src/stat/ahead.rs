//! What `shmfuse stat` shows of what is loaded ahead.

use serde_json::{Value, json};
use std::fmt;
use transport::layout::Control;

/// What is loaded before it is asked for, and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ahead {
    /// As [`S2`](crate::config::S2).
    pub mode: u64,
    /// Directories that were begun.
    pub started: u64,
    /// Entries that the kernel did not know by then.
    pub loaded: u64,
    /// Of these, those that were looked up later.
    pub used: u64,
    /// Of these, those that were let go of without that.
    pub wasted: u64,
    /// Directories given up because a listing of them was asked for.
    pub abandoned: u64,
    /// How often loading was stopped because it did not pay.
    pub stopped: u64,
    /// How often it went on after that.
    pub resumed: u64,
}

impl Ahead {
    pub(super) fn of(page: &Control) -> Self {
        let counters = &page.cache.prefetch;
        Self {
            mode: page.ahead.get(),
            // Fates before what they are the fates of: then there are never too many.
            used: counters.used.get(),
            wasted: counters.wasted.get(),
            loaded: counters.loaded.get(),
            started: counters.started.get(),
            abandoned: counters.abandoned.get(),
            resumed: counters.resumed.get(),
            stopped: counters.stopped.get(),
        }
    }

    fn mode(self) -> &'static str {
        match self.mode {
            0 => "off",
            1 => "readdirplus",
            _ => "on",
        }
    }

    /// Entries whose fate is open.
    fn held(self) -> u64 {
        self.loaded.saturating_sub(self.used + self.wasted)
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "mode": self.mode(),
            "started": self.started,
            "loaded": self.loaded,
            "used": self.used,
            "wasted": self.wasted,
            "held": self.held(),
            "abandoned": self.abandoned,
            "stopped": self.stopped,
            "resumed": self.resumed,
        })
    }
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s2 {}", self.mode())?;
        if self.mode < 2 {
            return Ok(());
        }
        write!(
            f,
            ": directories {} (abandoned {}), entries loaded {}, used {}, wasted {}, held {}; stopped {}, resumed {}",
            self.started,
            self.abandoned,
            self.loaded,
            self.used,
            self.wasted,
            self.held(),
            self.stopped,
            self.resumed
        )
    }
}
