//! Payloads of one size at random places of a file, each request by itself.

use super::{
    Access, Direction, Measure, Place, Workload,
    files::{forget_pages, pattern, prepare_file, settle_pages, shuffled},
    on_threads, size_name, threads_name,
};
use crate::recorder::Recorder;
use anyhow::Result;
use rustix::fs::{Advice, fadvise};
use std::{fs::OpenOptions, os::unix::fs::FileExt, path::Path};

const FILE: &str = "bench-blocks";

/// pread(2) or pwrite(2) of one size. The mount's pages are dropped before reading and readahead is
/// off, so that a call is a request (of up to 1 MiB) and not an answer from the page cache.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Which way.
    pub direction: Direction,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Length of each call in bytes.
    pub block_bytes: usize,
    /// How many threads at once.
    pub threads: usize,
}

impl Workload for Blocks {
    fn name(&self) -> String {
        format!(
            "random {} {}{}",
            self.direction.word(),
            size_name(self.block_bytes),
            threads_name(self.threads)
        )
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn access(&self) -> Option<Access> {
        Some(Access {
            direction: self.direction,
            direct: false,
            mmap: false,
        })
    }

    fn warmed_by(&self) -> Option<String> {
        Some(format!("blocks: {}", self.direction.word()))
    }

    /// With the largest block, so that every buffer on the way has been touched.
    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let largest = Self {
            block_bytes: (1 << 20).min(self.file_bytes as usize),
            ..*self
        };
        largest.run(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_file(&lower.join(FILE), self.file_bytes)
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        settle_pages(&lower.join(FILE))
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let writes = self.direction == Direction::Write;
        let file = OpenOptions::new()
            .read(true)
            .write(writes)
            .open(place.root.join(FILE))?;
        recorder.aside(|| forget_pages(&file, place))?;
        recorder.aside(|| fadvise(&file, 0, None, Advice::Random))?;
        let blocks = self.file_bytes / self.block_bytes as u64;
        on_threads(self.threads, recorder, |number, recorder| {
            let mut block = pattern(self.block_bytes);
            // Each block once: a block that was read is in the mount's page cache.
            let share = blocks / self.threads as u64;
            let order = shuffled(share).map(|block| block + number as u64 * share);
            for place in order {
                if !recorder.goes_on() {
                    break;
                }
                let offset = place * self.block_bytes as u64;
                if writes {
                    recorder.time(|| file.write_all_at(&block, offset))?;
                } else {
                    recorder.time(|| file.read_exact_at(&mut block, offset))?;
                }
                recorder.moved(block.len() as u64);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn every_block_is_a_call_of_its_size() {
        for direction in [Direction::Read, Direction::Write] {
            for threads in [1, 2] {
                let figures = figures_of(&Blocks {
                    direction,
                    file_bytes: 1 << 20,
                    block_bytes: 1 << 14,
                    threads,
                });
                assert!((1..=64).contains(&figures.operations));
                assert_eq!(figures.bytes, figures.operations << 14);
            }
        }
    }
}
