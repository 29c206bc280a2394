//! File systems made for a test, in a file.

use super::{LowerFs, bash, mount::temp_dir};
use std::path::PathBuf;
use tempfile::TempDir;

/// A mounted file system of its own, unmounted at the end.
#[derive(Debug)]
pub struct Image {
    dir: TempDir,
}

impl Image {
    /// Makes a file system of this type (`xfs`, `btrfs`, ...), of 1 GiB, and mounts it.
    pub fn make(fs_type: &str) -> Self {
        let dir = temp_dir(LowerFs::Disk);
        bash(
            dir.path(),
            &format!(
                "truncate -s 1G image; mkdir fs; mkfs.{fs_type} -q image
                 mount -t {fs_type} -o loop image fs"
            ),
        );
        Self { dir }
    }

    /// A new directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("fs").join(name);
        std::fs::create_dir(&path).expect("a directory in a new file system");
        path
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A test that fails leaves its mount to a later destructor: it may still be in use.
        bash(self.dir.path(), "umount fs || umount -l fs");
    }
}
