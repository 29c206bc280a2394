//! Which file systems have a source of changes, and what becomes of those that have none.

use crate::common::{LowerFs, TestMount, Variant, image, skip, wait_until};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Mounts and tries a few changes; `source` must be in the log.
fn tries(mount: TestMount, source: &str) {
    let log = mount.daemon_seen().expect("a daemon").log();
    assert!(log.contains(source), "{source} is not in {log}");
    let (above, below) = (mount.path(), mount.lower());
    let as_below = |name: &str| {
        let facts = |dir: &Path| {
            let meta = fs::metadata(dir.join(name)).ok()?;
            Some((meta.ino(), meta.size(), meta.mode(), meta.mtime()))
        };
        facts(above) == facts(below)
    };
    let check = |what: &str| {
        for name in ["dir", "dir/one", "dir/two", ""] {
            wait_until(what, || as_below(name));
        }
    };
    check("nothing");
    fs::create_dir(below.join("dir")).unwrap();
    check("mkdir");
    fs::write(below.join("dir/one"), "text").unwrap();
    check("create");
    fs::write(below.join("dir/one"), "longer text").unwrap();
    check("write");
    fs::rename(below.join("dir/one"), below.join("dir/two")).unwrap();
    check("rename");
    fs::remove_file(below.join("dir/two")).unwrap();
    check("unlink");
    mount.finish();
}

fn on_memory(variant: Variant) {
    let mount = TestMount::builder(variant)
        .lower_fs(LowerFs::Memory)
        .mount();
    tries(mount, "reported by fanotify");
}

fn on_disk(variant: Variant) {
    let mount = TestMount::new(variant);
    let magic = rustix::fs::statfs(mount.lower()).unwrap().f_type;
    if magic as u64 != 0xEF53 {
        mount.finish();
        return skip::skip("on_disk", "the disk is not ext4");
    }
    tries(mount, "reported by ext4-tracepoint");
}

fn on_image(variant: Variant, kind: &str) {
    let image = image::Image::make(kind);
    let mount = TestMount::builder(variant)
        .lower(&image.dir("lower"))
        .mount();
    tries(mount, "reported by fanotify");
}

fn on_xfs(variant: Variant) {
    on_image(variant, "xfs");
}

fn on_btrfs(variant: Variant) {
    on_image(variant, "btrfs");
}

variant_tests!(
    classic_coherent,
    Variant::CLASSIC_COPY.coherent(),
    on_variant,
    [on_memory, on_disk, on_xfs, on_btrfs]
);
