//! Attributes of files, by themselves and while others wait for a file that is slow.

use super::{
    Measure, Place, Workload,
    files::{paths, prepare_files},
};
use crate::recorder::Recorder;
use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    thread::{CpuSet, sched_setaffinity},
};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const FOLDER: &str = "bench-lanes";
/// What `--lower-delay` names as `slow*`.
const SLOW: &str = "slow";
const FILES: usize = 200;

/// The pattern of `--lower-delay` under which only the slow file falls, with 50 ms for each of its
/// operations.
pub const DELAY: &str = "50ms:slow*";

/// Long enough for ten operations of the slow file, and for a thousand of the others.
const TIME: Duration = Duration::from_millis(500);

/// Long enough for the daemon to have met the slow file twice.
const WARMING: Duration = Duration::from_millis(200);

/// statx(2) of small files, each a latency; beside readers of the slow file, one on each CPU and so
/// one in each queue, which never stop reading.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    /// Whether there are readers of the slow file.
    pub slow: bool,
}

impl Lanes {
    /// Its name with and without readers of the slow file.
    pub const NAMES: [&str; 2] = ["stat beside nothing", "stat beside a slow file"];
}

/// Reads past every page cache until told to stop.
fn read_slowly(file: &File, cpu: usize, stop: &AtomicBool) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).context("sched_setaffinity")?;
    let mut room = vec![0; 2 * 4096];
    let start = room.as_ptr().align_offset(4096);
    let block = &mut room[start..start + 4096];
    while !stop.load(Ordering::Relaxed) {
        file.read_exact_at(block, 0).context("the slow file")?;
    }
    Ok(())
}

impl Workload for Lanes {
    fn name(&self) -> String {
        Self::NAMES[usize::from(self.slow)].into()
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn takes(&self) -> Option<Duration> {
        Some(TIME)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, FOLDER, FILES, b"")?;
        Ok(std::fs::write(lower.join(SLOW), [1; 4096])?)
    }

    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        self.run_for(WARMING, place, recorder)
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        self.run_for(TIME, place, recorder)
    }
}

impl Lanes {
    fn run_for(&self, time: Duration, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let mut options = OpenOptions::new();
        let slow = options.read(true).custom_flags(direct);
        let slow = recorder.aside(|| slow.open(place.root.join(SLOW)))?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = if self.slow { cpus } else { 0 };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (slow, stop) = (&slow, &stop);
            let readers: Vec<_> = (0..readers)
                .map(|cpu| scope.spawn(move || read_slowly(slow, cpu, stop)))
                .collect();
            let mut asked = Ok(());
            let until = Instant::now() + time;
            for path in paths(&place.root.join(FOLDER), FILES).iter().cycle() {
                if Instant::now() >= until || asked.is_err() {
                    break;
                }
                let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
                asked = recorder
                    .time(|| statx(CWD, path, flags, mask))
                    .with_context(|| path.display().to_string())
                    .map(drop);
            }
            stop.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().expect("a reader does not panic")?;
            }
            asked
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn attributes_are_asked_for_beside_readers_and_without_them() {
        for slow in [false, true] {
            assert!(figures_of(&Lanes { slow }).operations > 0);
        }
    }
}
