//! What `shmfuse trace` shows.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`line`] | one request, as text or as JSON |
//! | [`ftrace`] | the kernel's own events, recorded by tracefs |
//! | `dat` | the file that trace-cmd reads |

mod dat;
pub mod ftrace;
pub mod line;

use crate::{
    bpf::trace::Trace,
    error::{Error, Result},
    signals::Signals,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

/// When a trace ends, beside by a signal.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// After so many requests.
    pub count: Option<u64>,
    /// After this time.
    pub time: Option<Duration>,
}

/// Writes a line for each request that ends, until `end`, SIGINT or SIGTERM, or until nobody reads any
/// more. Returns how many requests were shown.
///
/// # Errors
///
/// `output` cannot be written to.
pub fn follow(
    trace: &mut Trace,
    signals: &Signals,
    end: End,
    format: line::Format,
    output: &mut impl Write,
) -> Result<u64> {
    let until = end.time.map(|time| Instant::now() + time);
    let mut shown = 0;
    loop {
        while let Some(life) = trace.take() {
            match format.write(&life, output) {
                Ok(()) => shown += 1,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(shown),
                Err(error) => return Err(Error::system("cannot write the trace", error)),
            }
            if end.count == Some(shown) {
                return flush(output, shown);
            }
        }
        flush(output, shown)?;
        if signals.next().is_some() || !wait(trace, signals, until) {
            return Ok(shown);
        }
    }
}

fn flush(output: &mut impl Write, shown: u64) -> Result<u64> {
    match output.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::system("cannot write the trace", error))
        }
        _ => Ok(shown),
    }
}

/// Waits for a request to end, or a signal; false once the time is up.
fn wait(trace: &Trace, signals: &Signals, until: Option<Instant>) -> bool {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return false;
    }
    let left = left.map(|left| Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    });
    let mut fds = [
        PollFd::new(trace, PollFlags::IN),
        PollFd::new(signals, PollFlags::IN),
    ];
    // What it says is found out anew in any case.
    let _ = poll(&mut fds, left.as_ref());
    true
}
