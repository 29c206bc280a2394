//! A slow lower file, and those who want something else.

use crate::common::{LIMIT, TestMount, Variant, Watchdog, watchdog::wait_until};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::pread,
};
use std::{
    fs,
    os::fd::OwnedFd,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Readers of the slow file at a time: more than there are queues, or threads of classic.
const READERS: usize = 6;

/// As long as it must be to see that others were served meanwhile.
const DELAY: &str = "700ms:slow";

/// How often it is tried. Whom slow reads hold up they hold up each time.
const TRIALS: usize = 8;

/// Readers of the slow file at a time: many times the slots of a queue.
const CROWD: usize = 50;

/// One READ; the page cache takes no part.
fn read(file: &OwnedFd) {
    #[repr(align(4096))]
    struct Aligned([u8; 4096]);
    let mut page = Box::new(Aligned([0; 4096]));
    assert_eq!(pread(file, &mut page.0, 0), Ok(4096));
}

/// `readers` of a slow file, and who does `quick` meanwhile.
fn they_hold_up_nobody_else(
    variant: Variant,
    args: &[&str],
    readers: usize,
    quick: impl Fn(&Path),
) {
    let _watchdog = Watchdog::start("a slow file", LIMIT);
    let mount = TestMount::builder(variant)
        .args(&["--lower-delay", DELAY, "--threads", "2"])
        .args(args)
        .mount();
    fs::write(mount.lower().join("slow"), [1; 4096]).unwrap();
    fs::write(mount.lower().join("other"), "x").unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECT;
    let slow = openat(CWD, mount.path().join("slow"), flags, Mode::empty()).unwrap();
    // The first is chance, the second is a habit.
    read(&slow);
    read(&slow);

    // A machine that is busy for as long as a slow read takes shows nothing; it is not so each time.
    let other = mount.path().join("other");
    let held_up = (0..TRIALS).all(|_| is_held_up(&mount, &slow, readers, || quick(&other)));
    assert!(!held_up, "slow reads ended before quick calls, each time");
    drop(slow);
    mount.finish();
}

fn who_reads_a_slow_file_holds_up_nobody_else(variant: Variant) {
    they_hold_up_nobody_else(variant, &[], READERS, |other| {
        for _ in 0..50 {
            fs::metadata(other).unwrap();
        }
    });
}

/// The ring entry of a request that waits stays taken, so a queue needs more of them.
fn a_crowd_at_a_slow_file_leaves_slots_to_others(variant: Variant) {
    they_hold_up_nobody_else(variant, &["--queue-depth", "4"], CROWD, |other| {
        fs::metadata(other).unwrap();
        assert_eq!(fs::read(other).unwrap(), b"x");
    });
}

/// Whether one of the slow reads ends before the quick calls are done.
fn is_held_up(mount: &TestMount, slow: &OwnedFd, readers: usize, quick: impl Fn()) -> bool {
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| {
                read(slow);
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        wait_until("all are read", || {
            waiting(mount) >= readers || ended.load(Ordering::Relaxed) > 0
        });
        quick();
        ended.load(Ordering::Relaxed) > 0
    })
}

/// Requests that the kernel waits for.
fn waiting(mount: &TestMount) -> usize {
    let path = format!("/sys/fs/fuse/connections/{}/waiting", mount.connection());
    let text = fs::read_to_string(path).unwrap();
    text.trim().parse().unwrap()
}

for_every_transport!(
    on_variant,
    [
        who_reads_a_slow_file_holds_up_nobody_else,
        a_crowd_at_a_slow_file_leaves_slots_to_others,
    ]
);
