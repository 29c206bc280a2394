//! Small files: opened, read and closed; made, written, closed and unlinked.

use super::{
    Measure, Place, Workload,
    files::{SMALL, file_name, paths, prepare_files},
};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

const FOLDER: &str = "bench-small";

/// open(2), read(2) of 4 KiB and close(2) of one of `files` small files, each a latency.
#[derive(Clone, Copy, Debug)]
pub struct OpenReadClose {
    /// How many files.
    pub files: usize,
}

impl Workload for OpenReadClose {
    fn name(&self) -> String {
        "open+read+close".into()
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, FOLDER, self.files, SMALL)
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let paths = paths(&place.root.join(FOLDER), self.files);
        let mut buffer = [0; SMALL.len()];
        for path in paths.iter().cycle() {
            if !recorder.goes_on() {
                break;
            }
            open_and_read(path, &mut buffer, recorder)?;
        }
        Ok(())
    }
}

/// Creates, writes, closes and unlinks small files, up to `files`, each a latency.
#[derive(Clone, Copy, Debug)]
pub struct CreateUnlink {
    /// How many files at most.
    pub files: usize,
    /// Whether 4 KiB are written into each.
    pub write: bool,
}

impl Workload for CreateUnlink {
    fn name(&self) -> String {
        if self.write {
            "create+write+close+unlink".into()
        } else {
            "create+unlink".into()
        }
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, _lower: &Path) -> Result<()> {
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let content: &[u8] = if self.write { SMALL } else { &[] };
        for index in 0..self.files {
            if !recorder.goes_on() {
                break;
            }
            make_and_unlink(&place.scratch.join(file_name(index)), content, recorder)?;
        }
        Ok(())
    }
}

/// Opens, reads and closes a small file as one operation.
///
/// # Errors
///
/// What the file system says, or other bytes than were [prepared](prepare_files).
pub(super) fn open_and_read(
    path: &Path,
    buffer: &mut [u8; SMALL.len()],
    recorder: &mut Recorder,
) -> Result<()> {
    let read = recorder.time(|| File::open(path)?.read(buffer));
    let read = read.with_context(|| path.display().to_string())?;
    ensure!(
        buffer[..read] == SMALL[..],
        "{}: {read} bytes, or wrong ones",
        path.display()
    );
    recorder.moved(read as u64);
    Ok(())
}

/// Creates a file, writes `content` into it unless that is empty, closes and unlinks it, as one operation.
///
/// # Errors
///
/// What the file system says.
pub(super) fn make_and_unlink(path: &Path, content: &[u8], recorder: &mut Recorder) -> Result<()> {
    let made = recorder.time(|| {
        let mut file = File::create_new(path)?;
        // Nothing to write is no write(2).
        file.write_all(content)?;
        drop(file);
        fs::remove_file(path)
    });
    made.with_context(|| path.display().to_string())?;
    recorder.moved(content.len() as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn small_files_are_read_whole_and_leave_nothing() {
        let read = figures_of(&OpenReadClose { files: 3 });
        assert_eq!(read.bytes, read.operations * SMALL.len() as u64);
        for write in [true, false] {
            let made = figures_of(&CreateUnlink { files: 5, write });
            assert!((1..=5).contains(&made.operations));
        }
    }
}
