//! Streams and random blocks.

use super::{Measure, Place, Workload};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};
use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the file.
    Read,
    /// Into the file.
    Write,
}

/// Reads or writes a whole file from front to back through the page cache.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Which way.
    pub direction: Direction,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Length of each call in bytes.
    pub block_bytes: usize,
}

const STREAM: &str = "bench-stream";

/// A file of at least `bytes` bytes, made unless it is there.
pub(super) fn prepare_file(path: &Path, bytes: u64) -> Result<()> {
    if path.metadata().is_ok_and(|file| file.len() >= bytes) {
        return Ok(());
    }
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let block = pattern(1 << 20);
    for _ in 0..bytes.div_ceil(1 << 20) {
        file.write_all(&block)?;
    }
    Ok(())
}

/// Bytes that no file system can fold away as zeros.
fn pattern(len: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Drops what the mount has cached of the file; the lower file's pages stay, on every variant: the
/// way to the application is what is measured.
fn forget_pages(file: &File, place: &Place<'_>) -> rustix::io::Result<()> {
    if place.native {
        Ok(())
    } else {
        fadvise(file, 0, None, Advice::DontNeed)
    }
}

impl Workload for Stream {
    fn name(&self) -> String {
        let way = match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        format!("{way} stream {}", super::size_name(self.block_bytes))
    }

    fn measure(&self) -> Measure {
        Measure::Bytes
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        match self.direction {
            Direction::Read => prepare_file(&lower.join(STREAM), self.file_bytes),
            Direction::Write => Ok(()),
        }
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let mut block = pattern(self.block_bytes);
        match self.direction {
            Direction::Read => {
                let mut file = File::open(place.root.join(STREAM))?;
                recorder.aside(|| forget_pages(&file, place))?;
                let mut left = self.file_bytes;
                while left > 0 {
                    let read = recorder.time(|| file.read(&mut block))?;
                    ensure!(read > 0, "the file ended {left} bytes early");
                    recorder.moved(read as u64);
                    left = left.saturating_sub(read as u64);
                }
            }
            Direction::Write => {
                let mut file = File::create(place.scratch.join("stream"))?;
                for _ in 0..self.file_bytes / self.block_bytes as u64 {
                    recorder.time(|| file.write_all(&block))?;
                    recorder.moved(block.len() as u64);
                }
            }
        }
        Ok(())
    }
}

/// Reads blocks at random places of a file, each request by itself.
#[derive(Clone, Copy, Debug)]
pub struct RandomRead {
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Length of each call in bytes.
    pub block_bytes: usize,
    /// How many calls.
    pub calls: usize,
}

impl Workload for RandomRead {
    fn name(&self) -> String {
        format!("random read {}", super::size_name(self.block_bytes))
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_file(&lower.join(STREAM), self.file_bytes)
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let file = File::open(place.root.join(STREAM))?;
        recorder.aside(|| forget_pages(&file, place))?;
        recorder.aside(|| fadvise(&file, 0, None, Advice::Random))?;
        let blocks = self.file_bytes / self.block_bytes as u64;
        let mut block = vec![0; self.block_bytes];
        let mut word = 88_172_645_463_325_252u64;
        for _ in 0..self.calls {
            // xorshift64 (Marsaglia, 2003): the same places on every variant.
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            let offset = word % blocks * self.block_bytes as u64;
            recorder.time(|| file.read_exact_at(&mut block, offset))?;
            recorder.moved(block.len() as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_moves_is_the_file_s_length() {
        let dir = tempfile::tempdir().unwrap();
        for direction in [Direction::Read, Direction::Write] {
            let stream = Stream {
                direction,
                file_bytes: 1 << 20,
                block_bytes: 1 << 16,
            };
            stream.prepare(dir.path()).unwrap();
            let mut recorder = Recorder::default();
            let place = Place {
                root: dir.path(),
                scratch: dir.path(),
                native: true,
            };
            stream.run(&place, &mut recorder).unwrap();
            let figures = recorder.finish(std::time::Duration::from_secs(1));
            assert_eq!(
                (figures.bytes, figures.operations),
                (1 << 20, 16),
                "{direction:?}"
            );
        }
    }

    #[test]
    fn the_pattern_is_as_long_as_asked_and_not_all_zeros() {
        assert_eq!(pattern(13).len(), 13);
        assert!(
            pattern(4096)
                .chunks(512)
                .all(|chunk| chunk.iter().any(|&byte| byte != 0))
        );
    }
}
