//! What is done in a mounted directory, the same for every variant.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`metadata`] | stat, walk, small files: many requests, no data |
//! | [`data`] | streams and random blocks |
//! | [`fio`] | data by fio: block sizes, depths, O_DIRECT, mmap |
//! | [`command`] | real programs on a real tree: git, tar, find, a build |

pub mod command;
pub mod data;
pub mod fio;
pub mod metadata;

use crate::recorder::Recorder;
use anyhow::Result;
use std::path::Path;

/// What a workload is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Operations per second.
    Operations,
    /// MiB per second.
    Bytes,
    /// Runs per second of a whole command: the table shows its time.
    Time,
}

/// Something to do in a directory.
pub trait Workload {
    /// Its name in tables: short, unique within a plan.
    fn name(&self) -> String;

    /// What it is compared by.
    fn measure(&self) -> Measure;

    /// Makes what all variants need, in the lower directory, once.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn prepare(&self, lower: &Path) -> Result<()>;

    /// Does it once.
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
    /// A directory of this variant's own below `root`, empty before and removed after.
    pub scratch: &'a Path,
    /// Whether this is the lower directory itself: its page cache is the one below all the
    /// others, so it must stay warm.
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
