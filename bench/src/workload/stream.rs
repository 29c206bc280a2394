//! A whole file from front to back through the page cache.

use super::{
    Access, Direction, Measure, Place, Workload,
    files::{forget_lower_pages, forget_pages, pattern, prepare_file, settle_pages},
    size_name,
};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
    time::Duration,
};

const FILE: &str = "bench-stream";
/// Its own, so that what is cold leaves the other one's pages alone.
const COLD_FILE: &str = "bench-stream-cold";

/// A file that is written is emptied when it is this long, outside of the time that counts: fast
/// variants use no more memory than slow ones, and the same memory again.
const WRITTEN_AT_ONCE: u64 = 64 << 20;

/// Reads or writes a file, or as much of it as there is time for.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Which way.
    pub direction: Direction,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Length of each call in bytes.
    pub block_bytes: usize,
    /// Whether the lower file's pages are dropped before: bytes come from the disk.
    pub cold: bool,
}

impl Stream {
    fn file(&self) -> &'static str {
        if self.cold { COLD_FILE } else { FILE }
    }
}

impl Workload for Stream {
    fn name(&self) -> String {
        format!(
            "{} stream {}{}",
            self.direction.word(),
            size_name(self.block_bytes),
            if self.cold { ", cold" } else { "" }
        )
    }

    fn measure(&self) -> Measure {
        Measure::Bytes
    }

    fn access(&self) -> Option<Access> {
        Some(Access {
            direction: self.direction,
            direct: false,
            mmap: false,
        })
    }

    fn overhead(&self) -> Duration {
        Duration::from_millis(60)
    }

    fn warmed_by(&self) -> Option<String> {
        Some(format!("streams: {}", self.direction.word()))
    }

    /// With large calls of what is in memory, whatever is to be measured.
    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let largest = Self {
            block_bytes: 1 << 20,
            ..*self
        };
        largest.run(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        match self.direction {
            Direction::Read => prepare_file(&lower.join(self.file()), self.file_bytes),
            Direction::Write => Ok(()),
        }
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        if self.direction == Direction::Read && !self.cold {
            settle_pages(&lower.join(FILE))?;
        }
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let mut block = pattern(self.block_bytes);
        match self.direction {
            Direction::Read => {
                let mut file = File::open(place.root.join(self.file()))?;
                recorder.aside(|| forget_pages(&file, place))?;
                if self.cold {
                    recorder.aside(|| forget_lower_pages(place, self.file()))?;
                }
                let mut left = self.file_bytes;
                while left > 0 && recorder.goes_on() {
                    let read = recorder.time(|| file.read(&mut block))?;
                    ensure!(read > 0, "the file ended {left} bytes early");
                    recorder.moved(read as u64);
                    left = left.saturating_sub(read as u64);
                }
            }
            Direction::Write => {
                let path = place.scratch.join("stream");
                let mut file = File::create(&path).with_context(|| path.display().to_string())?;
                let blocks_at_once = (WRITTEN_AT_ONCE / self.block_bytes as u64).max(1);
                for number in 0..self.file_bytes / self.block_bytes as u64 {
                    if !recorder.goes_on() {
                        break;
                    }
                    if number % blocks_at_once == 0 {
                        let emptied =
                            recorder.aside(|| file.set_len(0).and_then(|()| file.rewind()));
                        emptied.context("emptying the file")?;
                    }
                    recorder
                        .time(|| file.write_all(&block))
                        .context("writing")?;
                    recorder.moved(block.len() as u64);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::here;

    #[test]
    fn what_a_stream_moves_is_the_file_s_length() {
        for (direction, cold) in [
            (Direction::Read, false),
            (Direction::Read, true),
            (Direction::Write, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let stream = Stream {
                direction,
                file_bytes: 1 << 20,
                block_bytes: 1 << 16,
                cold,
            };
            stream.prepare(dir.path()).unwrap();
            let mut recorder = Recorder::default();
            stream.run(&here(dir.path()), &mut recorder).unwrap();
            let figures = recorder.finish(Duration::from_secs(1));
            assert_eq!((figures.bytes, figures.operations), (1 << 20, 16));
        }
    }
}
