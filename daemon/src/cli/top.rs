//! `shmfuse top`.

use super::{Outcome, target, values};
use crate::{
    error::Error,
    mount::table::MountTable,
    signals::Signals,
    top::{Interval, Sample, Screen, Watched},
};
use clap::{Args, ValueHint};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fmt::Write as _,
    io::{self, Write as _, stdout},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Options of `shmfuse top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Where shmfuse is mounted [default: every mount of it]
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoints: Vec<PathBuf>,
    /// Time between looks, as in 500ms, 2s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = values::time)]
    pub interval: Duration,
    /// End after so many intervals
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Show one interval and end: --count 1
    #[arg(long, conflicts_with = "count")]
    pub once: bool,
    /// One interval below the other, as if the output were no terminal
    #[arg(long)]
    pub batch: bool,
    /// Print a JSON object for each mount and interval, one a line
    #[arg(long)]
    pub json: bool,
}

/// How often a key is looked for.
const KEY_TIME: Duration = Duration::from_millis(100);

/// Shows interval after interval.
///
/// # Errors
///
/// No mount of shmfuse, lack of privilege.
pub fn run(args: &TopArgs) -> Outcome {
    let mounts = match args.mountpoints[..] {
        [] => MountTable::read()?.ours(),
        _ => {
            let find = |place: &PathBuf| target::mount(place);
            args.mountpoints
                .iter()
                .map(find)
                .collect::<Result<_, _>>()?
        }
    };
    if mounts.is_empty() {
        return Err(Error::refused("nothing to show", "shmfuse is mounted nowhere", "").into());
    }
    let watched: Vec<_> = mounts
        .into_iter()
        .map(Watched::start)
        .collect::<Result<_, _>>()?;
    let signals = Signals::collect()?;
    let screen = if args.batch || args.json {
        None
    } else {
        Screen::take()?
    };
    let count = if args.once { Some(1) } else { args.count };
    let mut before: Vec<_> = watched.iter().map(Watched::sample).collect();
    if screen.is_none() {
        eprintln!("looking at {} mounts", watched.len());
    }
    let mut shown = 0;
    while before.iter().any(Option::is_some) && wait(args.interval, &signals, screen.as_ref()) {
        let now: Vec<_> = watched.iter().map(Watched::sample).collect();
        let text = render(&watched, &before, &now, args.json);
        let drawn = match &screen {
            Some(screen) => screen.draw(&text),
            None => stdout().lock().write_all(text.as_bytes()),
        };
        match drawn {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            drawn => drawn.map_err(|error| Error::system("cannot show it", error))?,
        }
        shown += 1;
        if count == Some(shown) {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Waits for the end of an interval; false if somebody wants to end.
fn wait(time: Duration, signals: &Signals, screen: Option<&Screen>) -> bool {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        let left = match screen {
            Some(_) => left.min(KEY_TIME),
            None => left,
        };
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        // Whatever it says, all is looked at.
        let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&left));
        if signals.next().is_some() || screen.is_some_and(Screen::is_quit) {
            return false;
        }
    }
}

fn render(
    watched: &[Watched],
    before: &[Option<Sample>],
    now: &[Option<Sample>],
    json: bool,
) -> String {
    let mut text = String::new();
    for (watched, (before, now)) in watched.iter().zip(before.iter().zip(now)) {
        let place = &watched.mount.mountpoint;
        let (Some(before), Some(now)) = (before, now) else {
            if !json {
                let _ = writeln!(text, "{}  its daemon has ended\n", place.display());
            }
            continue;
        };
        let interval = Interval::between(before, now);
        // A String takes everything.
        let _ = if json {
            writeln!(text, "{}", interval.to_json(place))
        } else {
            writeln!(
                text,
                "{}  daemon {}: {:.1} % of a CPU, {} MiB, {} threads\n{interval}",
                place.display(),
                watched.daemon.as_raw_nonzero(),
                interval.cpu_percent,
                interval.resident >> 20,
                interval.threads
            )
        };
    }
    text
}
