//! Lower files that the kernel refuses to read and write by itself.

use crate::common::{LowerFs, TestMount, Variant, mount::temp_dir, skip::skip, wait_until};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// An overlay mount; unmounted when dropped.
struct Overlay(PathBuf);

impl Overlay {
    fn new(at: &Path, layers: &Path) -> Self {
        let layer = |name| {
            let dir = layers.join(name);
            fs::create_dir(&dir).unwrap();
            dir.display().to_string()
        };
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            layer("below"),
            layer("above"),
            layer("work")
        );
        let kind = Some("overlay");
        mount(kind, at, kind, MsFlags::empty(), Some(options.as_str())).unwrap();
        Self(at.into())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// An overlay mount below LOWER stacks one file system too many for passthrough: its files are
/// copied, and counted.
fn files_of_a_stacked_file_system_are_copied(variant: Variant) {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap();
    if !filesystems.contains("\toverlay\n") {
        return skip(&variant.name(), "this kernel has no overlayfs");
    }
    let dir = temp_dir(LowerFs::Disk);
    let lower = dir.path().join("lower");
    fs::create_dir_all(lower.join("over")).unwrap();
    let _overlay = Overlay::new(&lower.join("over"), dir.path());
    let mut mount = TestMount::builder(variant).lower(&lower).mount();
    for name in ["file", "over/file"] {
        let path = mount.path().join(name);
        fs::write(&path, "0123").unwrap();
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        file.write_all_at(b"ab", 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0ab3");
        assert_eq!(fs::read(lower.join(name)).unwrap(), b"0ab3");
    }
    let daemon = mount.the_daemon();
    daemon.signal(Signal::SIGUSR1);
    wait_until("the daemon has logged what it holds", || {
        daemon.log().contains("holding")
    });
    let log = daemon.log();
    let refused = log.split_once("passthrough_refused=").map(|(_, rest)| rest);
    let digits = refused.unwrap().split(|c: char| !c.is_ascii_digit()).next();
    assert!(digits.unwrap().parse::<u64>().unwrap() > 0, "{log}");
    assert!(log.contains("lock_owners=0 "), "{log}");
    mount.finish();
}

variant_tests!(
    classic_passthrough,
    Variant::CLASSIC_PASSTHROUGH,
    on_variant,
    [files_of_a_stacked_file_system_are_copied]
);
variant_tests!(
    uring_passthrough,
    Variant::URING_PASSTHROUGH,
    on_variant,
    [files_of_a_stacked_file_system_are_copied]
);
