//! Directories: a large one listed, a tree walked.

use super::{Measure, Place, Start, Workload, files::prepare_files};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path, time::Duration};

/// Lists one directory of `files` entries, names alone.
#[derive(Clone, Copy, Debug)]
pub struct ReadDir {
    /// How many entries.
    pub files: usize,
}

impl ReadDir {
    fn folder(&self) -> String {
        format!("bench-readdir-{}", self.files)
    }
}

impl Workload for ReadDir {
    fn name(&self) -> String {
        format!("readdir of {}", self.files)
    }

    fn measure(&self) -> Measure {
        Measure::Time
    }

    fn takes(&self) -> Option<Duration> {
        // Some microseconds an entry; at least one listing, however long it takes.
        Some(Duration::from_micros(8 * self.files as u64))
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, &self.folder(), self.files, b"")
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        let folder = lower.join(self.folder());
        let mut entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        entries.try_for_each(|entry| Ok(entry.map(drop)?))
    }

    fn clean(&self, lower: &Path) -> Result<()> {
        super::files::remove(&lower.join(self.folder()))
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let folder = place.root.join(self.folder());
        while recorder.goes_on() {
            let seen = recorder.time(|| -> std::io::Result<usize> {
                fs::read_dir(&folder)?.try_fold(0, |seen, entry| entry.map(|_| seen + 1))
            });
            let seen = seen.with_context(|| folder.display().to_string())?;
            ensure!(seen == self.files, "{seen} entries of {}", self.files);
        }
        Ok(())
    }
}

/// Lists a tree of `files` files in folders of 100 and takes every entry's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// How many files.
    pub files: usize,
    /// Whether each repetition has a mount of its own.
    pub start: Start,
}

impl Walk {
    const FOLDER: &str = "bench-walk";

    fn walk(folder: &Path, recorder: &mut Recorder) -> Result<usize> {
        let mut seen = 0;
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let attributes = recorder.time(|| entry.metadata())?;
            if attributes.is_dir() {
                seen += Self::walk(&entry.path(), recorder)?;
            } else {
                seen += 1;
            }
        }
        Ok(seen)
    }
}

impl Workload for Walk {
    fn name(&self) -> String {
        match self.start {
            Start::Warm => "walk".into(),
            Start::FreshMount => "walk, first".into(),
        }
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn start(&self) -> Start {
        self.start
    }

    fn takes(&self) -> Option<Duration> {
        Some(Duration::from_micros(50 * self.files as u64))
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        for (folder, first) in (0..self.files).step_by(100).enumerate() {
            let files = (self.files - first).min(100);
            let folder = format!("{}/dir-{folder:04}", Self::FOLDER);
            prepare_files(lower, &folder, files, b"")?;
        }
        Ok(())
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        let mut nobody = Recorder::default();
        Self::walk(&lower.join(Self::FOLDER), &mut nobody).map(drop)
    }

    fn clean(&self, lower: &Path) -> Result<()> {
        super::files::remove(&lower.join(Self::FOLDER))
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let seen = Self::walk(&place.root.join(Self::FOLDER), recorder)?;
        let files = self.files;
        ensure!(seen == files, "the walk saw {seen} files of {files}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn a_walk_sees_every_file_and_folder() {
        let walk = Walk {
            files: 150,
            start: Start::Warm,
        };
        assert_eq!(figures_of(&walk).operations, 152);
        assert!(figures_of(&ReadDir { files: 20 }).operations >= 1);
    }
}
