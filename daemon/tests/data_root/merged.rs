//! Merged READs and WRITEs: direct I/O in many requests, which the kernel sends at once.
//!
//! It does so for a file that was opened without `O_DIRECT` and got it later; one that was opened with it
//! has one request after the other, if its application waits for each read or write (`fuse_direct_IO`,
//! `__fuse_direct_read`, fs/fuse/file.c).

use crate::common::{LowerFs, TestMount, Transport, Variant, bash, run, stat};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    process::Command,
};

/// What the kernel puts into one request, by the options of [`mount`].
const REQUEST: usize = 16 << 10;
const REQUESTS: usize = 16;
const ALL: usize = REQUEST * REQUESTS;

/// Memory aligned as direct I/O wants it.
#[repr(C, align(4096))]
struct Aligned([u8; ALL]);

fn blank() -> Box<Aligned> {
    Box::new(Aligned([0; ALL]))
}

/// Content of which no two blocks are alike.
fn content(seed: u8) -> Box<Aligned> {
    let mut content = blank();
    for (at, byte) in content.0.iter_mut().enumerate() {
        *byte = (at >> 9) as u8 ^ (at >> 3) as u8 ^ seed;
    }
    content
}

fn mount(variant: Variant, lower_fs: LowerFs) -> TestMount {
    let args = [
        "--max-write",
        "16K",
        "-o",
        "max_read=16K",
        "--queue-depth",
        "16",
        "--s5",
        "on",
    ];
    let builder = TestMount::builder(variant).lower_fs(lower_fs).args(&args);
    builder.mount()
}

fn open(mount: &TestMount, flags: OFlags) -> File {
    let path = mount.path().join("file");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.unwrap();
    fcntl_setfl(&file, OFlags::DIRECT | flags).unwrap();
    file
}

/// Requests that were merged, where the mount counts them.
fn merged(mount: &TestMount, what: &str) -> Option<u64> {
    let Variant::Daemon { transport, .. } = mount.variant() else {
        return None;
    };
    let counts = matches!(transport, Transport::Shm | Transport::ShmKernel);
    counts.then(|| stat(mount.path())["s5"][what]["requests"].as_u64().unwrap())
}

/// Does a thing until requests of it were merged: how many arrive at one time is chance.
fn until_merged(mount: &TestMount, what: &str, mut act: impl FnMut(u8)) {
    let before = merged(mount, what);
    for round in 0..=u8::MAX {
        act(round);
        if round >= 8 && (before.is_none() || merged(mount, what) > before) {
            return;
        }
    }
    panic!("{what} were never merged");
}

fn every_request_moves_its_own_bytes(variant: Variant) {
    let mount = mount(variant, LowerFs::Disk);
    let file = open(&mount, OFlags::empty());
    until_merged(&mount, "writes", |round| {
        let written = content(round);
        assert_eq!(file.write_at(&written.0, 0).unwrap(), ALL);
        let below = fs::read(mount.lower().join("file")).unwrap();
        assert!(below == written.0, "below in round {round}");
    });
    let below = content(255);
    fs::write(mount.lower().join("file"), &below.0[..]).unwrap();
    until_merged(&mount, "reads", |round| {
        let mut read = blank();
        assert_eq!(file.read_at(&mut read.0, 0).unwrap(), ALL);
        assert!(read.0 == below.0, "above in round {round}");
    });
    drop(file);
    mount.finish();
}

/// The kernel believes that the file is longer than it is.
fn a_file_that_ends_in_the_middle_is_read_to_its_end(variant: Variant) {
    let mount = mount(variant.cached(), LowerFs::Disk);
    let below = mount.lower().join("file");
    let written = content(1);
    let file = open(&mount, OFlags::empty());
    for end in [5 * REQUEST + 4096, 5 * REQUEST + 17, 3 * REQUEST, 0] {
        until_merged(&mount, "reads", |round| {
            fs::write(&below, &written.0[..]).unwrap();
            // The attributes' second begins here.
            file.metadata().unwrap();
            OpenOptions::new()
                .write(true)
                .open(&below)
                .unwrap()
                .set_len(end as u64)
                .unwrap();
            let mut read = blank();
            let len = file.read_at(&mut read.0, 0).unwrap();
            // The rest is read through the page cache, and the kernel goes by the first of those READs that
            // comes back short, which need not be the first of the file (`fuse_read_update_size`,
            // fs/fuse/file.c): it may show zeros behind the end, as long as it believes in a longer file.
            assert!(len >= end, "{len} of {end} in round {round}");
            assert!(read.0[..end] == written.0[..end], "in round {round}");
            assert!(
                read.0[end..].iter().all(|&byte| byte == 0),
                "in round {round}"
            );
        });
    }
    drop(file);
    mount.finish();
}

/// Where a write of [`ALL`] bytes ends in the middle of a request: the first 5 are written as a whole, the
/// sixth in part, and none of those behind it.
const END: usize = 5 * REQUEST + REQUEST / 2;

/// A write of all, of which the lower file system takes [`END`] bytes: that much is written, and this
/// errno goes to the 10 requests of which nothing is.
fn is_written_to_its_end(mount: &TestMount, file: &File, errno: Errno) {
    let below = mount.lower().join("file");
    until_merged(mount, "writes", |round| {
        let sparse = File::create(&below).unwrap();
        sparse.set_len(ALL as u64).unwrap();
        assert_eq!(file.metadata().unwrap().len(), ALL as u64);
        let written = content(round);
        let before = errors(mount);
        let result = file.write_at(&written.0, 0).unwrap_err().raw_os_error();
        assert_eq!(result, Some(errno.raw_os_error()));
        if let (Some(before), Some(after)) = (before, errors(mount)) {
            assert_eq!(after - before, REQUESTS as u64 - 6, "in round {round}");
        }
        let now = fs::read(&below).unwrap();
        assert!(now[..END] == written.0[..END], "below in round {round}");
        assert!(now[END..].iter().all(|&byte| byte == 0), "in round {round}");
    });
}

/// WRITEs that got an errno, where the mount counts them.
fn errors(mount: &TestMount) -> Option<u64> {
    merged(mount, "writes")?;
    Some(
        stat(mount.path())["ops"]["WRITE"]["errors"]
            .as_u64()
            .unwrap_or(0),
    )
}

fn a_limit_of_file_sizes_is_told_to_the_writes_behind_it(variant: Variant) {
    let mut mount = mount(variant, LowerFs::Disk);
    let daemon = mount.the_daemon().pid().to_string();
    let file = open(&mount, OFlags::empty());
    let limits = format!("--fsize={END}:{END}");
    run(Command::new("prlimit").args(["--pid", &daemon, &limits]));
    is_written_to_its_end(&mount, &file, Errno::FBIG);
    drop(file);
    mount.finish();
}

fn a_full_file_system_is_told_to_the_writes_behind_it(variant: Variant) {
    let root = crate::common::mount::temp_dir(LowerFs::Memory);
    bash(
        root.path(),
        &format!("mkdir small; mount -t tmpfs -o size={END} small small"),
    );
    let args = ["--max-write", "16K", "--queue-depth", "16", "--s5", "on"];
    let builder = TestMount::builder(variant).args(&args);
    let mount = builder.lower(&root.path().join("small")).mount();
    let file = open(&mount, OFlags::empty());
    is_written_to_its_end(&mount, &file, Errno::NOSPC);
    drop(file);
    mount.finish();
    bash(root.path(), "umount small");
}

/// What is appended is never merged: it is there once, and in order.
fn what_is_appended_is_there_once(variant: Variant) {
    let mount = mount(variant, LowerFs::Disk);
    let file = open(&mount, OFlags::APPEND);
    let before = merged(&mount, "writes");
    let mut expected = Vec::new();
    for round in 0..8 {
        let written = content(round);
        assert_eq!(file.write_at(&written.0, 0).unwrap(), ALL);
        expected.extend_from_slice(&written.0);
    }
    assert_eq!(merged(&mount, "writes"), before);
    assert!(fs::read(mount.lower().join("file")).unwrap() == expected);
    drop(file);
    mount.finish();
}

/// Pages that are written again and again while the kernel sends them: the last content is what stays.
fn of_writes_that_overlap_the_last_stays(variant: Variant) {
    let Variant::Daemon { transport, .. } = variant else {
        return;
    };
    let args = [
        "--writeback",
        "--cache",
        "ttl=60",
        "--max-write",
        "16K",
        "--s5",
        "on",
    ];
    let mount = TestMount::builder(variant).args(&args).mount();
    let path = mount.path().join("file");
    let file = File::create(&path).unwrap();
    let mut expected = vec![0; 2 * ALL];
    for round in 0..24_usize {
        let at = round * 7919 * 13 % ALL;
        let written = content(round as u8);
        expected[at..at + ALL].copy_from_slice(&written.0);
        file.write_all_at(&written.0, at as u64).unwrap();
        if round % 3 == 0 {
            file.sync_data().unwrap();
        }
    }
    file.sync_all().unwrap();
    let below = fs::read(mount.lower().join("file")).unwrap();
    assert!(below == expected[..below.len()], "over {transport:?}");
    assert!(expected[below.len()..].iter().all(|&byte| byte == 0));
    drop(file);
    mount.finish();
}

macro_rules! on_rings {
    ($tests:tt) => {
        variant_tests!(uring_copy_strict, Variant::URING_COPY, on_variant, $tests);
        variant_tests!(shm_copy_strict, Variant::SHM_COPY, on_variant, $tests);
        variant_tests!(
            full_run_shm_kernel_copy_strict,
            Variant::SHM_KERNEL_COPY,
            on_variant,
            $tests
        );
    };
}

on_rings!([
    every_request_moves_its_own_bytes,
    a_file_that_ends_in_the_middle_is_read_to_its_end,
    a_limit_of_file_sizes_is_told_to_the_writes_behind_it,
    a_full_file_system_is_told_to_the_writes_behind_it,
    what_is_appended_is_there_once,
    of_writes_that_overlap_the_last_stays,
]);
