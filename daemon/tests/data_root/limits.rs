//! Limits of the daemon's process, which are not the applications'.

use crate::common::{TestMount, Variant, run, wait_until};
use rustix::io::Errno;
use std::{
    fs::{self, File},
    process::Command,
};

/// The limit of file sizes is the writer's, which the kernel checks; one that the daemon was
/// given by accident makes writes fail, and the mount goes on.
fn a_limit_of_file_sizes_does_not_end_the_mount(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let daemon = mount.the_daemon().pid().to_string();
    run(Command::new("prlimit").args(["--pid", &daemon, "--fsize=65536:65536"]));
    let path = mount.path().join("file");
    let written = fs::write(&path, vec![1; 1 << 20]);
    if variant.is_passthrough() {
        // It is not the daemon that writes.
        written.unwrap();
    } else {
        let errno = written.unwrap_err().raw_os_error();
        assert_eq!(errno, Some(Errno::FBIG.raw_os_error()));
    }
    fs::write(&path, "small").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"small");
    mount.finish();
}

/// With a quarter of its descriptors cached for inodes, the daemon gives those up for open files.
fn open_files_take_the_descriptors_of_the_cache(variant: Variant) {
    let mount = TestMount::builder(variant).descriptor_limit(256).mount();
    let file = |i: u32| mount.path().join(format!("file{i}"));
    for i in 0..1000 {
        fs::write(mount.lower().join(format!("file{i}")), "x").unwrap();
    }
    for i in 0..1000 {
        fs::metadata(file(i)).unwrap();
    }
    let open: Vec<_> = (0..150).map(|i| File::open(file(i)).unwrap()).collect();
    for i in 0..1000 {
        assert_eq!(fs::read(file(i)).unwrap(), b"x");
    }
    drop(open);
    mount.finish();
}

/// More open files than the daemon may have descriptors: an error, and nothing else suffers.
fn too_many_open_files_are_an_error_and_no_more(variant: Variant) {
    let mount = TestMount::builder(variant).descriptor_limit(128).mount();
    let path = mount.path().join("file");
    fs::write(&path, "x").unwrap();
    let mut open = Vec::new();
    let errno = loop {
        match File::open(&path) {
            Ok(file) => open.push(file),
            Err(error) => break error.raw_os_error(),
        }
        assert!(open.len() < 128, "more files than descriptors");
    };
    assert_eq!(errno, Some(Errno::MFILE.raw_os_error()));
    assert!(open.len() > 30, "only {} open files", open.len());
    assert_eq!(std::io::read_to_string(&open[7]).unwrap(), "x");
    fs::metadata(&path).unwrap();
    drop(open);
    wait_until("there is room again", || File::open(&path).is_ok());
    assert_eq!(fs::read(&path).unwrap(), b"x");
    mount.finish();
}

for_every_daemon_variant!(
    on_variant,
    [
        a_limit_of_file_sizes_does_not_end_the_mount,
        open_files_take_the_descriptors_of_the_cache,
        too_many_open_files_are_an_error_and_no_more,
    ]
);
