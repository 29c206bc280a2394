//! Being told to stop: a run ends after the repetition that is under way, and leaves no mount.

use anyhow::{Result, bail};
use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::{AtomicBool, Ordering};

static TOLD: AtomicBool = AtomicBool::new(false);

/// Takes SIGINT and SIGTERM from now on. To be called before there are other threads: those that are
/// made later inherit it, and programs that are started do not (std empties their mask).
pub fn listen() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if signals.thread_block().is_err() {
        return;
    }
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            TOLD.store(true, Ordering::Relaxed);
        }
    });
}

/// Whether to go on.
///
/// # Errors
///
/// If a signal has said to stop.
pub fn check() -> Result<()> {
    if TOLD.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
