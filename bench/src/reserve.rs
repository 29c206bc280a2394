//! Memory that stays with the machine while a run lasts.
//!
//! In a virtual machine free memory goes back to the host: free page reporting
//! (mm/page_reporting.c) hands over free blocks of 2 MiB two seconds after they came free. Whoever
//! allocates them next waits for the host, here 2.5 s for each GiB instead of 0.1. A repetition
//! that fills a page cache would measure that or not, as chance has it.
//!
//! Blocks that are not wholly free are not reported. So a file in memory is written, and all but one
//! page of each MiB is given back: the pages between them are free, scattered so that they never
//! make up a whole block again, and the page allocator, which takes the smallest block that does
//! (mm/page_alloc.c), takes them before any whole one. On other machines this changes nothing.

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

/// Of each stretch of so many bytes one page is kept.
const STRETCH: u64 = 1 << 20;
/// What is kept of it.
const PAGE: u64 = 4096;

/// As much as the page caches of a few repetitions need, where the machine has eight times that
/// available.
pub fn usual_bytes() -> u64 {
    const ENOUGH: u64 = 3 << 30;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo
        .lines()
        .find(|line| line.starts_with("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    (kib.unwrap_or(0) * 1024 / 8).min(ENOUGH)
}

/// The pages between free ones; given back when dropped.
#[derive(Debug)]
pub struct Reserve {
    /// A memfd(2): what it holds lives as long as it is open.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is there to be dropped"))]
    kept: File,
}

impl Reserve {
    /// Keeps about `bytes`, rounded down to MiB, free and with the machine.
    ///
    /// # Errors
    ///
    /// If there is not so much memory, or no memfd_create(2).
    pub fn of(bytes: u64) -> Result<Self> {
        let context = || format!("cannot have {} MiB of memory for a while", bytes >> 20);
        let file = memfd_create("shmfuse-bench", MemfdFlags::CLOEXEC).with_context(context)?;
        let file = File::from(file);
        let bytes = bytes - bytes % STRETCH;
        ftruncate(&file, bytes).with_context(context)?;
        let page = [1; PAGE as usize];
        for offset in (0..bytes).step_by(PAGE as usize) {
            file.write_all_at(&page, offset).with_context(context)?;
        }
        // Not before all are there: a page that came free would be used for the next.
        for offset in (0..bytes).step_by(STRETCH as usize) {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&file, hole, offset + PAGE, STRETCH - PAGE).with_context(context)?;
        }
        Ok(Self { kept: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn one_page_of_each_mebibyte_is_kept() {
        let reserve = Reserve::of(5 * STRETCH + PAGE).unwrap();
        let kept = reserve.kept.metadata().unwrap();
        assert_eq!((kept.len(), kept.blocks() * 512), (5 * STRETCH, 5 * PAGE));
    }

    #[test]
    fn nothing_can_be_reserved() {
        Reserve::of(0).unwrap();
    }
}
