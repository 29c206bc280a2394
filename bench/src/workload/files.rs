//! What workloads prepare in the lower directory: folders of small files, and one large file.

use super::Place;
use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// Content of a small file.
pub const SMALL: &[u8; 4096] = &[b's'; 4096];

/// The name of a small file.
pub fn file_name(index: usize) -> String {
    format!("file-{index:06}")
}

/// The paths of `files` small files in a folder.
pub fn paths(folder: &Path, files: usize) -> Vec<PathBuf> {
    (0..files)
        .map(|index| folder.join(file_name(index)))
        .collect()
}

/// `files` files with this content in a folder of the lower directory.
///
/// # Errors
///
/// What the file system says.
pub fn prepare_files(lower: &Path, folder: &str, files: usize, content: &[u8]) -> Result<()> {
    let folder = lower.join(folder);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for path in paths(&folder, files) {
        if !path.exists() {
            fs::write(&path, content).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// A file of at least `bytes` bytes, on disk, made unless it is there.
///
/// # Errors
///
/// What the file system says.
pub fn prepare_file(path: &Path, bytes: u64) -> Result<()> {
    if path.metadata().is_ok_and(|file| file.len() >= bytes) {
        return Ok(());
    }
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let block = pattern(1 << 20);
    for _ in 0..bytes.div_ceil(1 << 20) {
        file.write_all(&block)?;
    }
    // Pages that are not on disk yet cannot be dropped.
    let synced = file.sync_all();
    let dropped = synced.and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?));
    dropped.with_context(|| path.display().to_string())?;
    settle_pages(path)
}

/// Brings all of a lower file into the page cache, in folios of one page, as far as it is not
/// there.
///
/// How large the folios of a file are is otherwise its memory's history: ext4 of Linux 6.18 reads
/// 1 MiB in folios of 2 MiB 2.5 times as fast as in single pages, and writes 4 KiB into them 20
/// times more slowly. And pages that are not used for a while may be gone (DAMON's reclaim,
/// mm/damon/reclaim.c, or who else wants memory). The one state that can be had at any time is
/// single pages: what is read ahead by force is (`force_page_cache_ra`, mm/readahead.c), which
/// POSIX_FADV_WILLNEED and reads under POSIX_FADV_RANDOM are.
///
/// # Errors
///
/// What the file system says.
pub fn settle_pages(path: &Path) -> Result<()> {
    let context = || path.display().to_string();
    let mut file = File::open(path).with_context(context)?;
    for advice in [Advice::Random, Advice::WillNeed] {
        fadvise(&file, 0, None, advice).with_context(context)?;
    }
    let mut block = vec![0; 1 << 20];
    while file.read(&mut block).with_context(context)? > 0 {}
    Ok(())
}

/// Removes a folder with all that is in it, if it is there: two workloads may have shared it.
///
/// # Errors
///
/// What the file system says.
pub fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Bytes that no file system can fold away as zeros.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The same places on every variant: xorshift64 (Marsaglia, 2003).
pub fn places(blocks: u64) -> impl Iterator<Item = u64> {
    let mut word = 88_172_645_463_325_252u64;
    std::iter::repeat_with(move || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word % blocks.max(1)
    })
}

/// Each number below `count` once, in an order that is the same each time.
pub fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    let mut order: Vec<u64> = (0..count).collect();
    let mut random = places(u64::MAX);
    // Fisher and Yates.
    for last in (1..order.len()).rev() {
        let other = random.next().unwrap_or_default() % (last as u64 + 1);
        order.swap(last, other as usize);
    }
    order.into_iter()
}

/// Drops what the mount has cached of the file; the lower file's pages stay, on every variant: the
/// way to the application is what is measured.
///
/// # Errors
///
/// What posix_fadvise(2) says.
pub fn forget_pages(file: &File, place: &Place<'_>) -> rustix::io::Result<()> {
    if place.native {
        Ok(())
    } else {
        fadvise(file, 0, None, Advice::DontNeed)
    }
}

/// Drops the lower file's pages: what is read next comes from the disk.
///
/// # Errors
///
/// What the file system says.
pub fn forget_lower_pages(place: &Place<'_>, name: &str) -> Result<()> {
    let path = place.lower.join(name);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    fadvise(&file, 0, None, Advice::DontNeed).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_as_long_as_asked_and_not_all_zeros() {
        assert_eq!(pattern(13).len(), 13);
        assert!(
            pattern(4096)
                .chunks(512)
                .all(|chunk| chunk.iter().any(|&byte| byte != 0))
        );
    }

    #[test]
    fn places_are_the_same_each_time() {
        let some = || places(10).take(100).collect::<Vec<_>>();
        assert_eq!(some(), some());
        assert!(some().iter().all(|&place| place < 10));
    }

    #[test]
    fn an_order_has_each_number_once() {
        let mut order: Vec<u64> = shuffled(100).collect();
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
