//! Bytes of a file: in order or at random, in and out, by one size of call and so many jobs, through
//! the page cache or past it, with the lower file's pages in memory or not.

use super::{
    Access, Direction, Measure, Place, Workload,
    files::{forget_lower_pages, forget_pages, pattern, prepare_file, settle_pages, shuffled},
    on_threads, size_name,
};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, OFlags, fadvise};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// What the jobs of a sequential write make is emptied at this length, all jobs together, outside
/// of the time that counts.
const WRITTEN_AT_ONCE: u64 = 64 << 20;

/// How the bytes of a [`Cell`] are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the page cache; the lower file's pages are in memory, those of the mount are not.
    Warm,
    /// The same, with the lower file's pages dropped: bytes come from the disk.
    Cold,
    /// By O_DIRECT. In the page cache is nothing of the file.
    Direct,
}

/// Jobs that read or write a file, each its own part of it in calls of one size: every block once,
/// or as many as there is time for.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Which way.
    pub direction: Direction,
    /// At random places, not in order. What is written in order through the page cache makes its
    /// file longer; all else is written in place.
    pub random: bool,
    /// Length of a call in bytes.
    pub block_bytes: usize,
    /// How many jobs, each a thread with a descriptor of its own.
    pub jobs: usize,
    /// Through the page cache or past it.
    pub way: Way,
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

impl Cell {
    /// A file for each state that pages are to be in, so that none undoes another's.
    fn file(&self) -> &'static str {
        match (self.way, self.direction) {
            (Way::Cold, _) => "bench-cell-cold",
            (Way::Direct, _) => "bench-cell-direct",
            (Way::Warm, Direction::Read) => "bench-cell-read",
            (Way::Warm, Direction::Write) => "bench-cell-written",
        }
    }

    /// Whether the file grows in the scratch directory.
    fn grows(&self) -> bool {
        self.direction == Direction::Write && !self.random && self.way != Way::Direct
    }

    fn open(&self, place: &Place<'_>, job: usize) -> Result<File> {
        let writes = self.direction == Direction::Write;
        let path = if self.grows() {
            place.scratch.join(format!("written-{job}"))
        } else {
            place.root.join(self.file())
        };
        let direct = if self.way == Way::Direct {
            OFlags::DIRECT.bits().cast_signed()
        } else {
            0
        };
        let file = OpenOptions::new()
            .read(true)
            .write(writes)
            .create(self.grows())
            .custom_flags(direct)
            .open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        if self.random {
            fadvise(&file, 0, None, Advice::Random).context("fadvise")?;
        }
        Ok(file)
    }

    /// Drops what is not to be in memory.
    fn forget(&self, place: &Place<'_>) -> Result<()> {
        if self.grows() || self.way == Way::Direct {
            return Ok(());
        }
        forget_pages(&File::open(place.root.join(self.file()))?, place)?;
        if self.way == Way::Cold {
            forget_lower_pages(place, self.file())?;
        }
        Ok(())
    }

    fn job(&self, file: &File, number: usize, recorder: &mut Recorder) -> Result<()> {
        let size = self.block_bytes as u64;
        let share = self.file_bytes / size / self.jobs as u64;
        let mut block = Block::new(self.block_bytes)?;
        let mut order: Vec<u64> = if self.random {
            shuffled(share).collect()
        } else {
            (0..share).collect()
        };
        let at_once = WRITTEN_AT_ONCE / self.jobs as u64 / size;
        let first = if self.grows() {
            0
        } else {
            number as u64 * share
        };
        for (done, index) in order.drain(..).enumerate() {
            if !recorder.goes_on() {
                break;
            }
            let mut offset = (first + index) * size;
            if self.grows() {
                offset = index % at_once * size;
                if done > 0 && offset == 0 {
                    recorder.aside(|| file.set_len(0)).context("emptying")?;
                }
            }
            match self.direction {
                Direction::Read => recorder.time(|| file.read_exact_at(block.bytes(), offset)),
                Direction::Write => recorder.time(|| file.write_all_at(block.bytes(), offset)),
            }
            .with_context(|| format!("{} at {offset}", self.direction.word()))?;
            recorder.moved(size);
        }
        Ok(())
    }
}

/// Room for a call, aligned as O_DIRECT wants it, in pages of the size the machine has.
struct Block {
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl Block {
    fn new(len: usize) -> Result<Self> {
        const PAGE: usize = 4096;
        let room = pattern(len + PAGE);
        let start = room.as_ptr().align_offset(PAGE);
        ensure!(start <= PAGE, "memory that cannot be aligned");
        Ok(Self { room, start, len })
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.len]
    }
}

impl Workload for Cell {
    fn name(&self) -> String {
        let order = if self.random { "random" } else { "sequential" };
        let way = match self.way {
            Way::Warm => "",
            Way::Cold => ", cold",
            Way::Direct => ", direct",
        };
        let size = size_name(self.block_bytes);
        let word = self.direction.word();
        format!("{order} {word} {size} x{}{way}", self.jobs)
    }

    fn measure(&self) -> Measure {
        Measure::Bytes
    }

    fn access(&self) -> Option<Access> {
        Some(Access {
            direction: self.direction,
            direct: self.way == Way::Direct,
            mmap: false,
        })
    }

    fn warmed_by(&self) -> Option<String> {
        Some(format!("cells: {}", self.file()))
    }

    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let largest = Self {
            block_bytes: (1 << 20).min(self.file_bytes as usize),
            jobs: 1,
            random: false,
            ..*self
        };
        largest.run(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_file(&lower.join(self.file()), self.file_bytes)
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        match self.way {
            Way::Warm => settle_pages(&lower.join(self.file())),
            Way::Cold | Way::Direct => Ok(()),
        }
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        recorder.aside(|| self.forget(place))?;
        let files = (0..self.jobs).map(|job| self.open(place, job));
        let files: Vec<File> = files.collect::<Result<_>>()?;
        on_threads(self.jobs, recorder, |number, recorder| {
            self.job(&files[number], number, recorder)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn every_block_of_every_job_is_a_call_of_its_size() {
        for direction in [Direction::Read, Direction::Write] {
            for (random, way) in [
                (false, Way::Warm),
                (true, Way::Warm),
                (false, Way::Cold),
                (true, Way::Direct),
            ] {
                for jobs in [1, 4] {
                    let figures = figures_of(&Cell {
                        direction,
                        random,
                        block_bytes: 1 << 14,
                        jobs,
                        way,
                        file_bytes: 1 << 20,
                    });
                    assert!((1..=64).contains(&figures.operations));
                    assert_eq!(figures.bytes, figures.operations << 14);
                }
            }
        }
    }

    #[test]
    fn memory_for_direct_calls_is_aligned() {
        let mut block = Block::new(5000).unwrap();
        assert_eq!(block.bytes().as_ptr().align_offset(4096), 0);
        assert_eq!(block.bytes().len(), 5000);
    }
}
