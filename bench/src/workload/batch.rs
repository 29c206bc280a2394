//! A number of small files from the first to the last, however long it takes.

use super::{
    Measure, Place, Workload,
    files::{SMALL, file_name, paths, prepare_files},
    small::{make_and_unlink, open_and_read},
};
use crate::recorder::Recorder;
use anyhow::{Context, Result};
use std::{fs, path::Path, time::Duration};

const FOLDER: &str = "bench-batch";

/// Files of a warm-up, where all of them would take long.
const WARMING: usize = 500;

/// open(2), read(2) of 4 KiB and close(2) of each of so many small files, once.
#[derive(Clone, Copy, Debug)]
pub struct OpenAll {
    /// How many files.
    pub files: usize,
}

impl Workload for OpenAll {
    fn name(&self) -> String {
        format!("open+read+close of {}", self.files)
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn takes(&self) -> Option<Duration> {
        Some(Duration::from_micros(40) * self.files as u32)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, FOLDER, self.files, SMALL)
    }

    /// Their pages and inodes in memory, whatever has become of them.
    fn settle(&self, lower: &Path) -> Result<()> {
        for path in paths(&lower.join(FOLDER), self.files) {
            fs::read(&path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let mut buffer = [0; SMALL.len()];
        for path in paths(&place.root.join(FOLDER), self.files) {
            open_and_read(&path, &mut buffer, recorder)?;
        }
        Ok(())
    }
}

/// Creates, writes 4 KiB, closes and unlinks so many small files, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct MakeAll {
    /// How many files.
    pub files: usize,
}

impl Workload for MakeAll {
    fn name(&self) -> String {
        format!("create+write+close+unlink of {}", self.files)
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn takes(&self) -> Option<Duration> {
        Some(Duration::from_micros(170) * self.files as u32)
    }

    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let files = self.files.min(WARMING);
        Self { files }.run(place, recorder)
    }

    fn prepare(&self, _lower: &Path) -> Result<()> {
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        for index in 0..self.files {
            make_and_unlink(&place.scratch.join(file_name(index)), SMALL, recorder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn all_files_have_their_turn_however_long_it_takes() {
        assert_eq!(figures_of(&OpenAll { files: 7 }).operations, 7);
        assert_eq!(figures_of(&MakeAll { files: 7 }).operations, 7);
    }
}
