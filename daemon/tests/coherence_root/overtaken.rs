//! Replies that are sent late, and changes below, revoked meanwhile: what is believed in the end is what is
//! below.
//!
//! `SHMFUSE_SOAK_SECONDS` says how long on each variant and file system, 2 by default; `SHMFUSE_SEED` with which seed.

use super::random::Random;
use crate::common::{LowerFs, TestMount, Variant, Watchdog, wait_until};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    env,
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Between an answer and its reply.
const DELAY: Duration = Duration::from_millis(8);
const DIRS: [&str; 2] = ["even", "odd"];
const NAMES: [&str; 4] = ["a", "b", "tree", "tree/in"];

/// What is seen of a name: number, mode, size, links.
type Facts = Option<[u64; 4]>;

fn facts(path: &Path) -> Facts {
    let meta = fs::symlink_metadata(path).ok()?;
    // The size of a directory is the file system's own matter.
    let size = if meta.is_dir() { 0 } else { meta.size() };
    Some([meta.ino(), meta.mode().into(), size, meta.nlink()])
}

/// Every name by a look, and every listing.
fn view(root: &Path) -> (Vec<Facts>, Vec<Vec<std::ffi::OsString>>) {
    let places = DIRS.map(|dir| NAMES.map(|name| root.join(dir).join(name)));
    let lists = [
        DIRS.map(|dir| root.join(dir)),
        DIRS.map(|dir| root.join(dir).join("tree")),
    ];
    let listed = lists.as_flattened().iter().map(|dir| list(dir));
    let looked = places.as_flattened().iter().map(|path| facts(path));
    (looked.collect(), listed.collect())
}

/// The names in a directory; none where none is.
fn list(dir: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

/// One look of a kind that asks anew for what is not believed.
fn glance(random: &mut Random, root: &Path) {
    let dir = root.join(DIRS[random.next() as usize % 2]);
    let path = dir.join(NAMES[random.next() as usize % 4]);
    match random.next() % 4 {
        0 => drop(list(&dir)),
        1 => drop(list(&path)),
        2 => drop(fs::read(&path)),
        _ => drop(facts(&path)),
    }
}

/// Some change by way of `root`. One that is not possible, as things are, is none.
fn change(random: &mut Random, root: &Path) {
    let [from, to] = match random.next() % 2 {
        0 => DIRS,
        _ => [DIRS[1], DIRS[0]],
    }
    .map(|dir| root.join(dir));
    let name = ["a", "b"][random.next() as usize % 2];
    let _ = match random.next() % 10 {
        0..3 => fs::rename(from.join(name), to.join(name)),
        3 => fs::rename(from.join("tree"), to.join("tree")),
        4 => {
            let flags = RenameFlags::EXCHANGE;
            renameat_with(CWD, from.join("a"), CWD, to.join("b"), flags).map_err(Into::into)
        }
        5 => fs::write(to.join(name), "new"),
        6 => fs::remove_file(from.join(name)),
        7 => fs::write(to.join("other"), "replaced")
            .and_then(|()| fs::rename(to.join("other"), to.join(name))),
        8 => fs::set_permissions(
            from.join(name),
            Permissions::from_mode(random.next() as u32 % 512),
        ),
        _ => OpenOptions::new()
            .append(true)
            .open(from.join(name))
            .and_then(|mut file| file.write_all(b"more")),
    };
}

fn pause(random: &mut Random) {
    let most = 2 * DELAY.as_micros() as u64;
    thread::sleep(Duration::from_micros(random.next() % most));
}

fn replies_that_are_overtaken_leave_nothing_wrong(variant: Variant) {
    let seconds = env::var("SHMFUSE_SOAK_SECONDS").map_or(2, |text| text.parse().unwrap());
    let seed = env::var("SHMFUSE_SEED").map_or_else(
        |_| u64::from(std::process::id()) << 32,
        |text| text.parse().expect("SHMFUSE_SEED: a number"),
    );
    let time = Duration::from_secs(seconds);
    let _watchdog = Watchdog::start("overtaken", time * 6 + crate::common::LIMIT);
    for lower_fs in [LowerFs::Disk, LowerFs::Memory] {
        eprintln!("{} on {lower_fs:?}: SHMFUSE_SEED={seed}", variant.name());
        let delay = format!("{}us", DELAY.as_micros());
        let mount = TestMount::builder(variant)
            .lower_fs(lower_fs)
            .args(&["--reply-delay", &delay])
            .mount();
        run(&mount, seed, Instant::now() + time);
        mount.finish();
    }
}

fn run(mount: &TestMount, seed: u64, until: Instant) {
    let (above, below) = (mount.path(), mount.lower());
    for dir in DIRS {
        fs::create_dir(below.join(dir)).unwrap();
        fs::write(below.join(dir).join("a"), "a").unwrap();
    }
    fs::create_dir(below.join("even/tree")).unwrap();
    fs::write(below.join("even/tree/in"), "").unwrap();
    let mut random = Random(seed);
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while rounds == 0 || Instant::now() < until {
        let is_over = AtomicBool::new(false);
        let seeds = [(); 4].map(|()| random.next());
        thread::scope(|scope| {
            for seed in &seeds[..2] {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut random = Random(*seed);
                    while !is_over.load(Ordering::Relaxed) {
                        glance(&mut random, above);
                    }
                });
            }
            let changers = [(seeds[2], below), (seeds[3], above)];
            let changers = changers.map(|(seed, way)| {
                scope.spawn(move || {
                    let mut random = Random(seed);
                    for _ in 0..random.next() % 4 {
                        pause(&mut random);
                        change(&mut random, way);
                    }
                })
            });
            for changer in changers {
                changer.join().unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let quiet = Instant::now();
        let what = format!("round {rounds} of seed {seed}: the mount shows what is below");
        wait_until(&what, || view(above) == view(below));
        longest = longest.max(quiet.elapsed());
        rounds += 1;
    }
    eprintln!("{rounds} rounds, right after {longest:?} at the latest");
}

variant_tests!(
    full_run_classic_copy_coherent,
    Variant::CLASSIC_COPY.coherent(),
    on_long_variant,
    [replies_that_are_overtaken_leave_nothing_wrong]
);
variant_tests!(
    full_run_uring_copy_coherent,
    Variant::URING_COPY.coherent(),
    on_long_variant,
    [replies_that_are_overtaken_leave_nothing_wrong]
);
variant_tests!(
    full_run_shm_passthrough_coherent,
    Variant::SHM_PASSTHROUGH.coherent(),
    on_long_variant,
    [replies_that_are_overtaken_leave_nothing_wrong]
);
variant_tests!(
    full_run_shm_kernel_coherent,
    Variant::SHM_KERNEL_COPY.coherent(),
    on_long_variant,
    [replies_that_are_overtaken_leave_nothing_wrong]
);
