//! Other file systems mounted below LOWER.

use crate::common::{LowerFs, TestMount, Tree, Variant, assert_same, bash, mount::temp_dir};
use rustix::io::Errno;
use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt, path::Path};

/// A lower directory with a tmpfs in it, unmounted at the end.
struct Lower {
    dir: tempfile::TempDir,
}

impl Lower {
    fn make() -> Self {
        let dir = temp_dir(LowerFs::Disk);
        bash(
            dir.path(),
            "mkdir -p lower/sub mnt; echo outer >lower/file; echo hidden >lower/sub/hidden
             mount -t tmpfs tmpfs lower/sub; mkdir lower/sub/dir; echo inner >lower/sub/file
             ln lower/sub/file lower/sub/dir/link; ln -s ../file lower/sub/up",
        );
        Self { dir }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("lower")
    }
}

impl Drop for Lower {
    fn drop(&mut self) {
        bash(self.dir.path(), "umount -l lower/sub");
    }
}

fn errno(result: io::Result<()>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

fn a_mount_below_lower_is_crossed(variant: Variant) {
    let lower = Lower::make();
    let mount = TestMount::builder(variant).lower(&lower.path()).mount();
    let path = |name: &str| mount.path().join(name);
    assert_eq!(fs::read_to_string(path("sub/file")).unwrap(), "inner\n");
    assert_eq!(fs::read_to_string(path("sub/up")).unwrap(), "outer\n");
    assert!(!path("sub/hidden").exists());
    assert_same(
        "above and below",
        &Tree::of(mount.path()),
        &Tree::of(mount.lower()),
    );

    fs::write(path("sub/new"), "new").unwrap();
    fs::rename(path("sub/new"), path("sub/dir/new")).unwrap();
    assert_eq!(
        fs::read_to_string(lower.path().join("sub/dir/new")).unwrap(),
        "new"
    );
    let across = [
        fs::rename(path("file"), path("sub/moved")),
        fs::rename(path("sub/file"), path("moved")),
        fs::hard_link(path("file"), path("sub/linked")),
    ];
    for result in across {
        assert_eq!(errno(result), Some(Errno::XDEV));
    }
    assert_eq!(errno(fs::remove_dir(path("sub"))), Some(Errno::BUSY));
    assert_eq!(
        errno(fs::rename(path("sub"), path("other"))),
        Some(Errno::BUSY)
    );
    numbers_are_unique(mount.path());
    mount.finish();
}

/// No two files have the same device and inode number, and hard links do.
fn numbers_are_unique(root: &Path) {
    let mut seen = BTreeSet::new();
    for name in ["", "file", "sub", "sub/file", "sub/dir", "sub/up"] {
        let meta = fs::symlink_metadata(root.join(name)).unwrap();
        assert!(
            seen.insert((meta.dev(), meta.ino())),
            "{name} has another file's number"
        );
    }
    let [one, two] =
        ["sub/file", "sub/dir/link"].map(|name| fs::metadata(root.join(name)).unwrap().ino());
    assert_eq!(one, two);
}

for_every_transport!(on_variant, [a_mount_below_lower_is_crossed]);
