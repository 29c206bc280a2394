//! Small files that are read again: where `--data auto` prefers pages to passthrough.
//!
//! Registering a backing file costs more than reading a small file out of the page cache of the
//! mount, and reading it into that cache costs more than either. So a file that is opened to be read,
//! and was before with no open for writing in between, is copied from then on, and its pages stay from
//! one open to the next; any other goes past the daemon.
//!
//! Writes past the daemon do not touch the pages of the mount, and need not: the kernel drops all of
//! them at an open that does not keep them (`fuse_open`, fs/fuse/file.c), no passthrough open does, and
//! while one lasts no page comes in (`backing_table`).

use super::{Passthrough, inode::Inode};
use crate::{config::DataChoice, fuse::Errno};
use rustix::fs::OFlags;
use std::{fs::File, sync::atomic::Ordering};
use transport::wire::InitFlags;

/// The longest file whose pages are preferred, in bytes: what one READ of the kernel's default
/// readahead brings (`VM_READAHEAD_PAGES`, include/linux/mm.h).
const SMALL: u64 = 128 << 10;

impl Passthrough {
    /// Whether `file`, which is being opened, had better be copied if nothing else decides.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub(super) fn prefers_pages(
        &self,
        inode: &Inode,
        file: &File,
        flags: OFlags,
    ) -> Result<bool, Errno> {
        let reads = flags & OFlags::ACCMODE == OFlags::RDONLY
            && !flags.intersects(OFlags::TRUNC | OFlags::DIRECT);
        let read_before = inode.was_read.swap(reads, Ordering::Relaxed);
        Ok(reads
            && read_before
            && self.config.data == DataChoice::Auto
            && self.keeps_data()
            && self.agreed(InitFlags::AUTO_INVAL_DATA)
            && rustix::fs::fstat(file)?.st_size as u64 <= SMALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::CachePolicy,
        passthrough::testing::{Scratch, places},
    };
    use std::time::Duration;
    use transport::wire::FopenFlags;

    #[test]
    fn a_small_file_that_is_read_again_keeps_its_pages() {
        let ttl = CachePolicy::Ttl(Duration::from_secs(1));
        let mut scratch = Scratch::with(&places()[0], DataChoice::Auto, ttl);
        std::fs::write(scratch.lower("small"), b"x").unwrap();
        std::fs::write(scratch.lower("large"), vec![0; 129 << 10]).unwrap();
        let (small, large) = (scratch.lookup("small"), scratch.lookup("large"));
        let mut opened = |nodeid, flags| {
            let open = scratch.open(nodeid, flags).unwrap();
            scratch.release((nodeid, open.fh)).unwrap();
            open.open_flags
        };
        let read = |opened: &mut dyn FnMut(u64, OFlags) -> FopenFlags, nodeid| {
            [(); 3].map(|()| opened(nodeid, OFlags::RDONLY))
        };
        let again = [
            FopenFlags::PASSTHROUGH,
            FopenFlags::KEEP_CACHE,
            FopenFlags::KEEP_CACHE,
        ];
        assert_eq!(read(&mut opened, small), again);
        assert_eq!(read(&mut opened, large), [FopenFlags::PASSTHROUGH; 3]);
        assert_eq!(opened(small, OFlags::RDWR), FopenFlags::PASSTHROUGH);
        assert_eq!(read(&mut opened, small), again);
    }
}
