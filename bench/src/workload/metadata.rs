//! Many requests, no data: stat, walk, small files.

use super::{Measure, Place, Workload};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// Content of a small file.
const SMALL: &[u8; 4096] = &[b's'; 4096];

fn file_name(index: usize) -> String {
    format!("file-{index:06}")
}

/// `files` small files in the lower directory's folder `folder`.
fn prepare_files(lower: &Path, folder: &str, files: usize) -> Result<()> {
    let folder = lower.join(folder);
    fs::create_dir_all(&folder)?;
    for index in 0..files {
        let path = folder.join(file_name(index));
        if !path.exists() {
            fs::write(&path, SMALL).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// statx(2) of each of `files` names in a row, `rounds` times, on `threads` threads.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// How many names.
    pub files: usize,
    /// How often each.
    pub rounds: usize,
    /// How many threads do it at once, each all of it.
    pub threads: usize,
}

impl Stat {
    const FOLDER: &str = "bench-stat";

    fn one_thread(&self, folder: &Path) -> Result<Recorder> {
        let paths: Vec<PathBuf> = (0..self.files).map(|i| folder.join(file_name(i))).collect();
        let mut recorder = Recorder::default();
        for _ in 0..self.rounds {
            for path in &paths {
                recorder
                    .time(|| {
                        statx(
                            CWD,
                            path,
                            AtFlags::SYMLINK_NOFOLLOW,
                            StatxFlags::BASIC_STATS,
                        )
                    })
                    .with_context(|| path.display().to_string())?;
            }
        }
        Ok(recorder)
    }
}

impl Workload for Stat {
    fn name(&self) -> String {
        if self.threads == 1 {
            "stat".into()
        } else {
            format!("stat x{}", self.threads)
        }
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, Self::FOLDER, self.files)
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let folder = place.root.join(Self::FOLDER);
        if self.threads == 1 {
            recorder.merge(&self.one_thread(&folder)?);
            return Ok(());
        }
        let recorders = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| scope.spawn(|| self.one_thread(&folder)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a measuring thread does not panic"))
                .collect::<Result<Vec<_>>>()
        })?;
        recorders.iter().for_each(|other| recorder.merge(other));
        Ok(())
    }
}

/// open(2), read(2) of 4 KiB and close(2) of each of `files` small files.
#[derive(Clone, Copy, Debug)]
pub struct OpenReadClose {
    /// How many files.
    pub files: usize,
}

impl OpenReadClose {
    const FOLDER: &str = "bench-small";
}

impl Workload for OpenReadClose {
    fn name(&self) -> String {
        "open+read+close".into()
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, Self::FOLDER, self.files)
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let folder = place.root.join(Self::FOLDER);
        let mut buffer = [0; SMALL.len()];
        for index in 0..self.files {
            let path = folder.join(file_name(index));
            let read = recorder.time(|| File::open(&path)?.read(&mut buffer));
            let read = read.with_context(|| path.display().to_string())?;
            ensure!(
                buffer[..read] == SMALL[..],
                "{}: {read} bytes, or wrong ones",
                path.display()
            );
            recorder.moved(read as u64);
        }
        Ok(())
    }
}

/// Creates, writes, closes and unlinks `files` small files, each a latency.
#[derive(Clone, Copy, Debug)]
pub struct CreateUnlink {
    /// How many files.
    pub files: usize,
}

impl Workload for CreateUnlink {
    fn name(&self) -> String {
        "create+write+close+unlink".into()
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, _lower: &Path) -> Result<()> {
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        for index in 0..self.files {
            let path = place.scratch.join(file_name(index));
            let made = recorder.time(|| {
                let mut file = File::create_new(&path)?;
                file.write_all(SMALL)?;
                drop(file);
                fs::remove_file(&path)
            });
            made.with_context(|| path.display().to_string())?;
            recorder.moved(SMALL.len() as u64);
        }
        Ok(())
    }
}

/// Lists a tree of `files` files in folders of 100 and takes every entry's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// How many files.
    pub files: usize,
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
        "walk".into()
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        for (folder, first) in (0..self.files).step_by(100).enumerate() {
            let files = (self.files - first).min(100);
            prepare_files(lower, &format!("{}/dir-{folder:04}", Self::FOLDER), files)?;
        }
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let seen = Self::walk(&place.root.join(Self::FOLDER), recorder)?;
        ensure!(
            seen == self.files,
            "the walk saw {seen} files of {}",
            self.files
        );
        Ok(())
    }
}
