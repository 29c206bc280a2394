//! Files with holes.

use crate::common::{TestMount, run_in};
use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

/// Where data begins and ends.
fn data_ranges(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let mut ranges = Vec::new();
    let mut at = 0;
    loop {
        match seek(&file, SeekFrom::Data(at)) {
            Ok(start) => {
                at = seek(&file, SeekFrom::Hole(start)).unwrap();
                ranges.push((start, at));
            }
            Err(Errno::NXIO) => return ranges,
            Err(errno) => panic!("SEEK_DATA: {errno}"),
        }
    }
}

fn cp_sparse_makes_the_same_holes(mount: &TestMount) {
    let source = mount.scratch().join("source");
    let file = File::create(&source).unwrap();
    file.write_all_at(&[1; 8192], 1 << 20).unwrap();
    file.write_all_at(&[2; 4096], 5 << 20).unwrap();
    file.write_all_at(&[0; 1 << 20], 8 << 20).unwrap();
    file.set_len(16 << 20).unwrap();
    let source = source.to_str().unwrap();
    for when in ["auto", "always", "never"] {
        for dir in [mount.path(), mount.plain()] {
            run_in(dir, "cp", &[&format!("--sparse={when}"), source, when]);
            run_in(
                dir,
                "cp",
                &[&format!("--sparse={when}"), when, "copy-of-copy"],
            );
            run_in(dir, "cmp", &[source, when]);
            run_in(dir, "cmp", &[source, "copy-of-copy"]);
        }
        for name in [when, "copy-of-copy"] {
            let [on_mount, on_plain, below] = [mount.path(), mount.plain(), mount.lower()]
                .map(|dir| data_ranges(&dir.join(name)));
            assert_eq!(on_mount, on_plain, "data in {name} of --sparse={when}");
            assert_eq!(on_mount, below, "data in {name} of --sparse={when}, below");
            let [on_mount, below] = [mount.path(), mount.lower()]
                .map(|dir| fs::metadata(dir.join(name)).unwrap().blocks());
            assert_eq!(on_mount, below, "blocks of {name} of --sparse={when}");
        }
    }
}

for_every_variant_and_writeback!(on_mount, [cp_sparse_makes_the_same_holes]);
