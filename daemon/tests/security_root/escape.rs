//! No way out of the lower directory, whatever is put in the way, and when.
//!
//! Outside is what `../outside` means below and does not mean above: whoever gets there through the
//! mount was led there by the daemon.

use crate::common::{LowerFs, TestMount, Variant, mount::temp_dir};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SECRET: &str = "outside";
const INSIDE: &str = "inside";

/// How long a race is run.
const RACE: Duration = Duration::from_millis(600);

/// A mount, and beside its lower directory one that is not to be reached.
struct Trap {
    mount: TestMount,
    base: TempDir,
}

impl Trap {
    fn new(variant: Variant) -> Self {
        let base = temp_dir(LowerFs::Disk);
        for dir in ["lower", "outside"] {
            fs::create_dir(base.path().join(dir)).expect("a directory");
        }
        fs::write(base.path().join("outside/file"), SECRET).expect("a file");
        let lower = base.path().join("lower");
        let mount = TestMount::builder(variant).lower(&lower).mount();
        Self { mount, base }
    }

    fn outside(&self) -> PathBuf {
        self.base.path().join("outside")
    }

    fn above(&self, path: &str) -> PathBuf {
        self.mount.path().join(path)
    }

    fn below(&self, path: &str) -> PathBuf {
        self.mount.lower().join(path)
    }

    /// Makes a directory with a file in it, below.
    fn plant(&self, dir: &str) {
        fs::create_dir_all(self.below(dir)).expect("a directory");
        fs::write(self.below(dir).join("file"), INSIDE).expect("a file");
    }

    /// Nothing may have been made, changed or removed outside.
    #[track_caller]
    fn finish(self) {
        let entries = fs::read_dir(self.outside()).expect("a directory");
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        let text = fs::read_to_string(self.outside().join("file")).expect("the file");
        assert_eq!(text, SECRET);
        self.mount.finish();
    }
}

/// Exchanges two names below while `work` goes on above.
fn while_exchanged(one: &Path, other: &Path, work: impl Fn()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("an exchange");
            }
        });
        let until = Instant::now() + RACE;
        while Instant::now() < until {
            work();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// What was read must have come from inside.
#[track_caller]
fn assert_inside(read: io::Result<String>) {
    if let Ok(text) = read {
        assert_eq!(text, INSIDE);
    }
}

fn a_symbolic_link_leads_where_the_caller_stands(variant: Variant) {
    let trap = Trap::new(variant);
    symlink("../outside", trap.below("dir")).unwrap();
    symlink("../outside/file", trap.below("file")).unwrap();
    symlink("../outside/new", trap.below("new")).unwrap();
    for path in ["dir", "dir/file", "file"] {
        let error = fs::metadata(trap.above(path)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENOENT), "{path}");
    }
    assert!(fs::write(trap.above("new"), "x").is_err());
    assert!(fs::write(trap.above("dir/new"), "x").is_err());
    // What an absolute one means, it means to the caller.
    symlink(trap.outside().join("file"), trap.below("absolute")).unwrap();
    let text = fs::read_to_string(trap.above("absolute")).unwrap();
    assert_eq!(text, SECRET);
    trap.finish();
}

fn dot_dot_is_the_kernels(variant: Variant) {
    let trap = Trap::new(variant);
    trap.plant("a/b");
    let up = fs::canonicalize(trap.above("..")).unwrap();
    assert_eq!(up, trap.mount.path().parent().unwrap());
    let device = fs::metadata(trap.above("")).unwrap().dev();
    for path in ["a/..", "a/b/../..", "a/b/../../a"] {
        assert_eq!(fs::metadata(trap.above(path)).unwrap().dev(), device);
    }
    trap.finish();
}

fn a_directory_that_becomes_a_link_leads_nobody_out(variant: Variant) {
    let trap = Trap::new(variant);
    trap.plant("dir");
    symlink("../outside", trap.below("link")).unwrap();
    let file = trap.above("dir/file");
    while_exchanged(&trap.below("dir"), &trap.below("link"), || {
        assert_inside(fs::read_to_string(&file));
        // Each of these may fail, or do what it says to the directory that is inside.
        let _ = fs::write(trap.above("dir/new"), "x");
        let _ = fs::rename(trap.above("dir/new"), trap.above("dir/newer"));
        let _ = fs::hard_link(trap.above("dir/file"), trap.above("dir/hard"));
        let _ = fs::remove_file(trap.above("dir/hard"));
        let _ = fs::create_dir(trap.above("dir/sub"));
        let _ = fs::remove_dir(trap.above("dir/sub"));
        if let Ok(entries) = fs::read_dir(trap.above("dir")) {
            assert!(entries.count() < 9);
        }
    });
    trap.finish();
}

fn a_file_that_becomes_a_link_leads_nobody_out(variant: Variant) {
    let trap = Trap::new(variant);
    trap.plant("");
    symlink("../outside/file", trap.below("link")).unwrap();
    while_exchanged(&trap.below("file"), &trap.below("link"), || {
        assert_inside(fs::read_to_string(trap.above("file")));
        let _ = fs::write(trap.above("file"), INSIDE);
        if let Ok(file) = fs::File::options().write(true).open(trap.above("file")) {
            let _ = file.set_len(INSIDE.len() as u64);
        }
    });
    trap.finish();
}

fn parents_that_are_renamed_under_an_access_lead_nobody_out(variant: Variant) {
    let trap = Trap::new(variant);
    trap.plant("one/deep/dir");
    trap.plant("two/deep/dir");
    // Out of the lower directory, and back: the other one is beside it.
    let away = trap.base.path().join("away");
    fs::create_dir_all(away.join("deep/dir")).unwrap();
    fs::write(away.join("deep/dir/file"), SECRET).unwrap();
    let held = fs::File::open(trap.above("two/deep")).unwrap();
    while_exchanged(&trap.below("one"), &trap.below("two"), || {
        assert_inside(fs::read_to_string(trap.above("one/deep/dir/file")));
        let held = rustix::fs::openat(
            &held,
            "dir/file",
            rustix::fs::OFlags::RDONLY,
            rustix::fs::Mode::empty(),
        );
        assert_inside(
            held.map_err(io::Error::from)
                .and_then(|file| io::read_to_string(fs::File::from(file))),
        );
    });
    // What lies away has no name inside before it is moved in: only then may it be read.
    assert_eq!(
        fs::read_to_string(trap.above("one/deep/dir/file")).unwrap(),
        INSIDE
    );
    renameat_with(CWD, trap.below("one"), CWD, &away, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(
        fs::read_to_string(trap.above("one/deep/dir/file")).unwrap(),
        SECRET
    );
    drop(held);
    trap.finish();
}

for_every_transport!(
    on_variant,
    [
        a_symbolic_link_leads_where_the_caller_stands,
        dot_dot_is_the_kernels,
        a_directory_that_becomes_a_link_leads_nobody_out,
        a_file_that_becomes_a_link_leads_nobody_out,
        parents_that_are_renamed_under_an_access_lead_nobody_out,
    ]
);
