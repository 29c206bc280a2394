//! Directories that are loaded before they are asked for: that they are, within bounds, and that
//! nothing is wrong for it.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant, bash, daemon::wait_for_inodes, wait_until};
use nix::sys::stat::lstat;
use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const DIRECTORIES: u64 = 12;
const FILES: u64 = 20;

/// A mount of a small tree.
fn tree(variant: Variant, args: &[&str]) -> TestMount {
    let mount = mounted(TestMount::builder(variant).args(args));
    for d in 0..DIRECTORIES {
        let dir = mount.lower().join(format!("d{d}"));
        fs::create_dir(&dir).unwrap();
        for f in 0..FILES {
            fs::write(dir.join(format!("f{f}")), "x").unwrap();
        }
    }
    mount
}

fn ahead(mount: &TestMount, name: &str) -> u64 {
    Counted::of(mount).ahead(name)
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Lists the root and the first directory there, and waits until the others are loaded. Returns these
/// others.
fn begin_walk(mount: &TestMount) -> Vec<PathBuf> {
    let mut dirs = names(mount.path());
    let first = dirs.remove(0);
    names(&first);
    let mut told = Instant::now();
    wait_until("the next directories are loaded", || {
        // What cannot be told without waiting is not told: it may take more than once.
        if told.elapsed() > Duration::from_secs(2) {
            names(mount.path());
            names(&first);
            told = Instant::now();
        }
        ahead(mount, "loaded") >= (DIRECTORIES - 1) * FILES
    });
    dirs
}

/// An entry: its name, number, mode and size, and parts of two of its times.
type Told = (PathBuf, u64, u32, u64, (i64, i64));

/// What a listing and a look at each entry say.
fn told(dir: &Path) -> Vec<Told> {
    let mut told: Vec<_> = names(dir)
        .into_iter()
        .filter_map(|path| Some((fs::symlink_metadata(&path).ok()?, path)))
        .map(|(stat, path)| {
            let name = path.file_name().unwrap().into();
            (
                name,
                stat.ino(),
                stat.mode(),
                stat.size(),
                (stat.mtime(), stat.ctime_nsec()),
            )
        })
        .collect();
    told.sort();
    told
}

fn a_walk_finds_the_next_directories_loaded(variant: Variant) {
    let mut mount = tree(variant, &[]);
    let dirs = begin_walk(&mount);
    for dir in &dirs {
        let below = mount.lower().join(dir.file_name().unwrap());
        assert_eq!(told(dir), told(&below));
    }
    wait_until("it is known what was of use", || ahead(&mount, "held") == 0);
    let (used, wasted) = (ahead(&mount, "used"), ahead(&mount, "wasted"));
    assert!(used > wasted, "{used} {wasted}");
    wait_for_inodes(mount.the_daemon(), 1);
    assert_not_miscounted(&mut mount);
    mount.finish();
}

fn what_changed_after_it_was_loaded_is_not_told_as_it_was(variant: Variant) {
    let mount = tree(variant, &[]);
    let dirs = begin_walk(&mount);
    for dir in &dirs {
        let below = mount.lower().join(dir.file_name().unwrap());
        bash(
            &below,
            "chmod 600 f0; echo more >>f1; rm f2; ln f3 another; mv f4 moved; mkdir new
             echo x >other; mv other f5; touch -d @1000 f6; ln -s f7 link
             chmod 755 .",
        );
        assert_eq!(told(dir), told(&below), "{}", dir.display());
        assert!(lstat(&dir.join("f2")).is_err());
        assert!(lstat(&dir.join("moved")).is_ok());
    }
    mount.finish();
}

/// A writer goes through the directories again and again while a walker walks: each size told is one
/// that the file had since the look began.
fn sizes_are_never_older_than_the_look(variant: Variant) {
    let mount = tree(variant, &[]);
    let path = |d: u64, f: u64| format!("d{d}/f{f}");
    let sizes: Vec<AtomicU64> = (0..DIRECTORIES * FILES)
        .map(|_| AtomicU64::new(1))
        .collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in (0..DIRECTORIES * FILES).cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let below = mount.lower().join(path(n / FILES, n % FILES));
                let mut file = fs::OpenOptions::new().append(true).open(below).unwrap();
                file.write_all(b"x").unwrap();
                sizes[n as usize].fetch_add(1, Ordering::SeqCst);
            }
        });
        for round in 0..6 {
            // The kernel forgets, and walks anew.
            bash(mount.path(), "echo 2 >/proc/sys/vm/drop_caches");
            let dirs = names(mount.path());
            for dir in dirs {
                let d: u64 = dir.file_name().unwrap().to_str().unwrap()[1..]
                    .parse()
                    .unwrap();
                let known = |f: u64| sizes[(d * FILES + f) as usize].load(Ordering::SeqCst);
                let before: Vec<u64> = (0..FILES).map(known).collect();
                for file in names(&dir) {
                    let f: u64 = file.file_name().unwrap().to_str().unwrap()[1..]
                        .parse()
                        .unwrap();
                    let size = lstat(&file).unwrap().st_size as u64;
                    assert!(
                        size >= before[f as usize],
                        "round {round}: {}",
                        file.display()
                    );
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(ahead(&mount, "started") > 0);
    mount.finish();
}

fn what_nobody_asks_for_is_let_go_of(variant: Variant) {
    let mut mount = tree(variant, &[]);
    begin_walk(&mount);
    wait_until("nothing is held", || ahead(&mount, "held") == 0);
    assert_eq!(ahead(&mount, "wasted"), ahead(&mount, "loaded"));
    wait_for_inodes(mount.the_daemon(), 1);
    assert_not_miscounted(&mut mount);
    mount.finish();
}

fn no_more_is_held_than_a_quarter_of_the_facts(variant: Variant) {
    let mount = tree(variant, &["--s1-entries", "256"]);
    let dirs = names(mount.path());
    for _ in 0..3 {
        for dir in &dirs {
            for name in ["f1", "f2", "nothing", "nowhere"] {
                let _ = lstat(&dir.join(name));
            }
            names(dir);
            assert!(ahead(&mount, "held") <= 64);
        }
    }
    assert!(ahead(&mount, "started") > 0);
    mount.finish();
}

/// Two names of each directory, and never another: what was loaded of it was loaded in vain.
fn it_stops_where_it_does_not_pay(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    bash(
        mount.lower(),
        "for d in {1..300}; do mkdir $d; touch $d/{1..40}; done",
    );
    let look = |from: u32, to: u32| {
        for d in from..to {
            for f in [7, 31] {
                lstat(&mount.path().join(format!("{d}/{f}"))).unwrap();
            }
        }
    };
    let mut to = 1;
    wait_until("it has stopped", || {
        look(to, to + 10);
        to = (to + 10) % 290 + 1;
        ahead(&mount, "stopped") > 0
    });
    let started = ahead(&mount, "started");
    look(1, 300);
    // A trial after 64 wishes, and then after 128 and 256.
    assert!(ahead(&mount, "started") <= started + 4, "{started}");
    mount.finish();
}

fn without_it_nothing_is_loaded(variant: Variant) {
    for args in [["--s2", "off"], ["--s2", "readdirplus"], ["--s1", "off"]] {
        let mount = tree(variant, &args);
        for dir in names(mount.path()) {
            told(&dir);
        }
        assert_eq!(ahead(&mount, "started"), 0, "{args:?}");
        let counted = Counted::of(&mount);
        let mode = if args[1] == "off" && args[0] == "--s2" {
            "off"
        } else {
            "readdirplus"
        };
        assert_eq!(counted.ahead_mode(), mode);
        mount.finish();
    }
}

/// The daemon says so when the kernel gives more back than it was given.
fn assert_not_miscounted(mount: &mut TestMount) {
    let log = mount.the_daemon().log();
    assert!(!log.contains("the kernel forgets"), "{log}");
}

with_each_engine!([
    a_walk_finds_the_next_directories_loaded,
    what_changed_after_it_was_loaded_is_not_told_as_it_was,
    sizes_are_never_older_than_the_look,
    what_nobody_asks_for_is_let_go_of,
    no_more_is_held_than_a_quarter_of_the_facts,
    it_stops_where_it_does_not_pay,
    without_it_nothing_is_loaded,
]);
