//! Names that io_uring's workers change below: such a change has no end of a system call, and what was
//! answered before it is not answered after it.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant, bash, scale};
use io_uring::{IoUring, opcode, types};
use nix::{errno::Errno, fcntl::AT_FDCWD, sys::stat::lstat};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::{
    ffi::CString,
    fs::File,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Renames at scale 1.
const TURNS: usize = 60;

/// Has every change of names in a directory wait for the disk, after the directory was marked and before the
/// names change in the kernel's memory (`ext4_rename`, fs/ext4/namei.c; `jbd2_journal_stop`; `d_move`): long
/// enough for whoever does not wait for the directory's lock to see the old names under the new generation.
fn wait_for_the_disk(directory: &Path) {
    let directory = File::open(directory).expect("the directory");
    let flags = ioctl_getflags(&directory).expect("its flags");
    ioctl_setflags(&directory, flags | IFlags::DIRSYNC).expect("a flag of ext4");
}

/// Renames by a worker of `ring`; the rename has returned when this does.
fn rename(ring: &mut IoUring, from: &Path, to: &Path) {
    let [from, to] =
        [from, to].map(|path| CString::new(path.as_os_str().as_bytes()).expect("a path"));
    let here = types::Fd(AT_FDCWD.as_raw_fd());
    let entry = opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build();
    #[expect(unsafe_code, reason = "paths are lent to the kernel")]
    // SAFETY: the paths live until the completion has been seen, below.
    unsafe { ring.submission().push(&entry) }.expect("room");
    ring.submit_and_wait(1).expect("a completion");
    let result = ring.completion().next().expect("a completion").result();
    assert_eq!(result, 0, "the rename");
}

/// Says that it is over, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One asks all the time, so that facts are made in the middle of changes as well; the changer asks after each.
fn what_a_worker_renames_is_seen_at_once(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    bash(mount.lower(), "mkdir d e; touch d/one e/other");
    for directory in ["d", "e"] {
        wait_for_the_disk(&mount.lower().join(directory));
    }
    let seen = ["d/one", "e/two"].map(|name| mount.path().join(name));
    let below = ["d/one", "e/two"].map(|name| mount.lower().join(name));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for name in &seen {
                    let _ = lstat(name);
                }
            }
        });
        let _over = Over(&over);
        let mut ring = IoUring::new(4).expect("a ring");
        for turn in 0..TURNS * scale::factor() as usize {
            let (old, new) = (turn % 2, (turn + 1) % 2);
            rename(&mut ring, &below[old], &below[new]);
            // Asked twice: by the second a fact that is wrong would have been made.
            for _ in 0..2 {
                let (gone, there) = (lstat(&seen[old]), lstat(&seen[new]));
                assert_eq!(gone.err(), Some(Errno::ENOENT), "turn {turn}: the old name");
                assert!(there.is_ok(), "turn {turn}: the new name: {there:?}");
            }
        }
    });
    assert!(Counted::of(&mount).answered("LOOKUP") > 0);
    mount.finish();
}

variant_tests!(
    worker,
    Variant::SHM_COPY,
    on_variant,
    [what_a_worker_renames_is_seen_at_once]
);
