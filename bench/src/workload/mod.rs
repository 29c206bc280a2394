//! What is done in a mounted directory, the same for every variant.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`files`] | what the others prepare: folders of small files, one large file |
//! | [`names`] | one name after the other: stat, rename |
//! | [`small`] | small files: opened and read, made and unlinked |
//! | [`listing`] | directories: a large one, a tree |
//! | [`blocks`] | payloads of one size, each request by itself |
//! | [`cell`] | sizes, jobs, order, page cache or O_DIRECT, warm and cold: one of each |
//! | [`batch`] | all of 10,000 small files, or of 20,000 that are made |
//! | [`lanes`] | attributes while others read a file that is slow |
//! | [`stream`] | a whole file from front to back, warm and cold |
//! | [`fio`] | data by fio: block sizes, depths, O_DIRECT, mmap |
//! | [`command`] | real programs: git, tar, find, a build, a database |
//! | [`sources`] | the tree that they work on |
//! | [`disturbed`] | any of them while something else keeps the CPUs busy |

pub mod batch;
pub mod blocks;
pub mod cell;
pub mod command;
pub mod disturbed;
pub mod files;
pub mod fio;
pub mod lanes;
pub mod listing;
pub mod names;
pub mod small;
pub mod sources;
pub mod stream;

use crate::recorder::Recorder;
use anyhow::Result;
use std::{path::Path, time::Duration};

/// What a workload is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Operations per second.
    Operations,
    /// MiB per second.
    Bytes,
    /// Runs per second of a whole command.
    Time,
}

impl Measure {
    /// The unit of rates by it.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Operations => "ops/s",
            Self::Bytes => "MiB/s",
            Self::Time => "runs/s",
        }
    }

    /// The measure whose rates have this unit.
    pub fn from_unit(unit: &str) -> Option<Self> {
        [Self::Operations, Self::Bytes, Self::Time]
            .into_iter()
            .find(|measure| measure.unit() == unit)
    }
}

/// In which state a mount has to be when a repetition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As the last one left it: what can be cached is.
    Warm,
    /// Mounted anew: nothing above the lower file system is cached.
    FreshMount,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the file.
    Read,
    /// Into the file.
    Write,
}

impl Direction {
    /// `read` or `write`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// How an application reaches a file's data, for the copies that it takes by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Which way.
    pub direction: Direction,
    /// By `O_DIRECT`.
    pub direct: bool,
    /// By mmap(2).
    pub mmap: bool,
}

/// Something to do in a directory.
pub trait Workload {
    /// Its name in tables: short, unique within a group.
    fn name(&self) -> String;

    /// What it is compared by.
    fn measure(&self) -> Measure;

    /// In which state the mount has to be.
    fn start(&self) -> Start {
        Start::Warm
    }

    /// A program that it needs and that is not there.
    fn missing(&self) -> Option<&'static str> {
        None
    }

    /// How data is reached, if it is about data.
    fn access(&self) -> Option<Access> {
        None
    }

    /// How long it takes about, if it is not told to end by time.
    fn takes(&self) -> Option<Duration> {
        None
    }

    /// What comes on top of that: mounting anew, starting programs, setting aside.
    fn overhead(&self) -> Duration {
        match self.start() {
            Start::Warm => Duration::from_millis(8),
            Start::FreshMount => Duration::from_millis(250),
        }
    }

    /// What a mount has to be warmed up for before it, by a name: workloads with the same one are
    /// warmed up by the first of them, once a mount. None where it begins cold.
    fn warmed_by(&self) -> Option<String> {
        (self.start() == Start::Warm).then(|| self.name())
    }

    /// Warms a mount up for [`warmed_by`](Self::warmed_by): as [`run`](Self::run), what it records
    /// is thrown away.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        self.run(place, recorder)
    }

    /// Makes what all variants need, in the lower directory, once in a group.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn prepare(&self, lower: &Path) -> Result<()>;

    /// Brings the lower file system's caches into the state that repetitions begin with, whatever
    /// they lost since this workload's last one: directly, past every mount. Before each warm-up,
    /// and before each repetition that begins with a mount of its own.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn settle(&self, _lower: &Path) -> Result<()> {
        Ok(())
    }

    /// Takes away what is too large to stay.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn clean(&self, _lower: &Path) -> Result<()> {
        Ok(())
    }

    /// Does it once, until it is done or the recorder says that the time is over.
    ///
    /// # Errors
    ///
    /// If anything fails: a workload never counts a failed operation.
    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()>;
}

/// Where a repetition happens.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The lower directory as this variant shows it.
    pub root: &'a Path,
    /// The lower directory itself.
    pub lower: &'a Path,
    /// A directory of this variant's own below `root`, empty before and removed after.
    pub scratch: &'a Path,
    /// Whether this is the lower directory itself: its page cache is the one below all the
    /// others.
    pub native: bool,
}

/// `4K`, `1M`: a length in tables.
fn size_name(bytes: usize) -> String {
    if bytes >= 1 << 20 {
        format!("{}M", bytes >> 20)
    } else {
        format!("{}K", bytes >> 10)
    }
}

/// ` x4`, or nothing for one thread.
fn threads_name(threads: usize) -> String {
    if threads == 1 {
        String::new()
    } else {
        format!(" x{threads}")
    }
}

/// Runs `work` on so many threads at once, each with its own recorder and number, and adds up.
fn on_threads(
    threads: usize,
    recorder: &mut Recorder,
    work: impl Fn(usize, &mut Recorder) -> Result<()> + Sync,
) -> Result<()> {
    if threads == 1 {
        return work(0, recorder);
    }
    let recorders = std::thread::scope(|scope| {
        let (work, shared) = (&work, &*recorder);
        let threads: Vec<_> = (0..threads)
            .map(|number| {
                let mut mine = shared.for_thread();
                scope.spawn(move || work(number, &mut mine).map(|()| mine))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a measuring thread does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    recorders.iter().for_each(|other| recorder.merge(other));
    Ok(())
}

#[cfg(test)]
pub(crate) fn here(dir: &Path) -> Place<'_> {
    Place {
        root: dir,
        lower: dir,
        scratch: dir,
        native: true,
    }
}

/// Prepares a workload in an empty directory and runs it once there: what it recorded.
#[cfg(test)]
pub(crate) fn figures_of(workload: &dyn Workload) -> crate::recorder::Figures {
    let dir = tempfile::tempdir().unwrap();
    workload.prepare(dir.path()).unwrap();
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let mut recorder = Recorder::within(Duration::from_millis(50));
    let place = Place {
        scratch: &scratch,
        ..here(dir.path())
    };
    workload.run(&place, &mut recorder).unwrap();
    workload.clean(dir.path()).unwrap();
    recorder.finish(Duration::from_secs(1))
}
