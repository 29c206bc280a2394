//! Changes through the mount and below it, at random: an answer is never older than the last change
//! that has returned.

use super::counted::{Counted, mounted};
use crate::common::{MountBuilder, TestMount, Variant, scale};
use nix::sys::stat::lstat;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// `SHMFUSE_TEST_SEED`, or one that is printed.
fn seed() -> u64 {
    let given = env::var("SHMFUSE_TEST_SEED").ok();
    let given = given.map(|text| text.parse().expect("SHMFUSE_TEST_SEED is a number"));
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    })
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const NAMES: [&str; 12] = [
    "a", "b", "c", "d/a", "d/b", "d/c", "e/a", "e/b", "e/c", "e", "d", "e/f",
];

/// One change; whether it succeeds is its own affair.
fn change(root: &Path, random: &mut Random) -> String {
    let (one, other) = (root.join(random.of(&NAMES)), root.join(random.of(&NAMES)));
    let mode = 0o700 | random.below(0o100) as u32;
    let what = random.below(11);
    let _ = match what {
        0 => fs::write(&one, vec![b'x'; random.below(9000)]),
        1 => fs::rename(&one, &other),
        2 => fs::remove_file(&one),
        3 => fs::hard_link(&one, &other),
        4 => fs::set_permissions(&one, fs::Permissions::from_mode(mode)),
        5 => fs::create_dir(&one),
        6 => fs::remove_dir(&one),
        7 => std::os::unix::fs::symlink("a", &one),
        8 => rustix::fs::setxattr(&one, "user.x", &mode.to_ne_bytes(), XattrFlags::empty())
            .map_err(Into::into),
        9 => rustix::fs::removexattr(&one, "user.x").map_err(Into::into),
        _ => fs::OpenOptions::new()
            .append(true)
            .open(&one)
            .and_then(|mut file| file.write_all(b"more")),
    };
    format!("{what} {} {}", one.display(), other.display())
}

/// Everything that is answered about a name.
fn observe(root: &Path, name: &str) -> String {
    let path = root.join(name);
    let stat = lstat(&path).map(|stat| {
        (
            (stat.st_ino, stat.st_mode, stat.st_nlink, stat.st_size),
            (stat.st_blocks, stat.st_mtime, stat.st_mtime_nsec),
            (stat.st_ctime, stat.st_ctime_nsec, stat.st_uid),
        )
    });
    let mut value = [0; 16];
    let xattr = rustix::fs::lgetxattr(&path, "user.x", value.as_mut_slice());
    let none = rustix::fs::lgetxattr(&path, "user.none", [0; 4].as_mut_slice());
    let listed = rustix::fs::llistxattr(&path, [0; 64].as_mut_slice());
    format!("{stat:?} {xattr:?} {value:?} {none:?} {listed:?}")
}

fn every_answer_is_what_is_below(variant: Variant) {
    two_sides(TestMount::builder(variant));
}

/// The same with a program that makes answers of replies.
fn every_answer_made_of_a_reply_is_what_is_below(variant: Variant) {
    let counted = two_sides(TestMount::builder(variant).args(&["--s6", "on"]));
    assert!(counted.renewed_by_replies() > 0);
}

fn two_sides(builder: MountBuilder) -> Counted {
    let mount = mounted(builder);
    let seed = seed();
    println!("SHMFUSE_TEST_SEED={seed}");
    let mut random = Random(seed);
    for step in 0..1500 * scale::factor() {
        let sides = [mount.path(), mount.lower()];
        let side = sides[random.below(2)];
        let what = change(side, &mut random);
        // Some are asked about every time, so that they are answered; others seldom.
        for _ in 0..1 + random.below(3) {
            let name = NAMES[random.below(NAMES.len())];
            for name in [name, "a", "d/a"] {
                assert_eq!(
                    observe(mount.path(), name),
                    observe(mount.lower(), name),
                    "{name}, seed {seed}, step {step}: {what}"
                );
            }
        }
    }
    let counted = Counted::of(&mount);
    assert!(counted.answered("LOOKUP") > 1000);
    assert!(counted.answered("GETATTR") > 1000);
    mount.finish();
    counted
}

/// One process changes below, and says so after each change has returned; others ask the mount all the
/// while. What they get is no older than what was said before they asked.
fn an_answer_is_no_older_than_the_question(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    let lower = mount.lower().to_owned();
    fs::write(lower.join("file"), "").unwrap();
    fs::write(lower.join("name.0"), "").unwrap();
    let (said, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let rounds = 3000 * scale::factor();
    thread::scope(|scope| {
        for side in 0..2 {
            let (mount, said, over) = (&mount, &said, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    let before = said.load(Ordering::Acquire);
                    if side == 0 {
                        let seen = lstat(&mount.path().join("file")).unwrap().st_mtime as u64;
                        assert!(seen >= before, "time {seen} after {before} was said");
                    } else {
                        let gone = before.saturating_sub(1);
                        let old = mount.path().join(format!("name.{gone}"));
                        let there = lstat(&old).is_ok();
                        assert!(!there || before == 0, "name.{gone} after {before} was said");
                        // Names only move on: either this one is there, or a later one is.
                        let now = mount.path().join(format!("name.{before}"));
                        let there = lstat(&now).is_ok();
                        let later = said.load(Ordering::Acquire);
                        assert!(there || moved_on(mount.lower(), before, later));
                    }
                }
            });
        }
        for round in 1..=rounds {
            let time = Timespec {
                tv_sec: round as i64,
                tv_nsec: 0,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            rustix::fs::utimensat(CWD, lower.join("file"), &times, AtFlags::empty()).unwrap();
            let (from, to) = (format!("name.{}", round - 1), format!("name.{round}"));
            fs::rename(lower.join(from), lower.join(to)).unwrap();
            said.store(round, Ordering::Release);
            if round % 64 == 0 {
                // Long enough for answers to be given.
                thread::sleep(std::time::Duration::from_millis(2));
            }
        }
        over.store(true, Ordering::Release);
    });
    let counted = Counted::of(&mount);
    assert!(counted.all_answered() > 100, "{}", counted.all_answered());
    mount.finish();
}

/// Whether the name has moved on from `before`, as was said, or is just about to be said.
fn moved_on(lower: &Path, before: u64, later: u64) -> bool {
    later > before || lstat(&lower.join(format!("name.{before}"))).is_err()
}

for_every_shm_variant!(
    on_variant,
    [
        every_answer_is_what_is_below,
        every_answer_made_of_a_reply_is_what_is_below,
        an_answer_is_no_older_than_the_question,
    ]
);
