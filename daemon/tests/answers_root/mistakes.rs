//! The mistakes that caches of this kind are known for, each with the test that would find it.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant, bash, wait_until};
use nix::{errno::Errno, sys::stat::lstat};
use rustix::fs::XattrFlags;
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Has everything about a path answered.
fn warm(path: &Path) {
    for _ in 0..3 {
        let _ = lstat(path);
    }
}

/// An entry is served from a cache though its attributes have changed.
fn an_entry_comes_with_the_attributes_of_now(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    let (seen, below) = (mount.path().join("file"), mount.lower().join("file"));
    fs::write(&below, "").unwrap();
    for round in 0..50u32 {
        warm(&seen);
        let mode = 0o600 | round & 0o77;
        match round % 3 {
            0 => fs::set_permissions(&below, fs::Permissions::from_mode(mode)).unwrap(),
            1 => fs::set_permissions(&seen, fs::Permissions::from_mode(mode)).unwrap(),
            _ => {
                let mut file = fs::OpenOptions::new().append(true).open(&below).unwrap();
                file.write_all(b"x").unwrap();
            }
        }
        let (seen, below) = (lstat(&seen).unwrap(), lstat(&below).unwrap());
        assert_eq!(
            (
                seen.st_mode,
                seen.st_size,
                seen.st_ctime_nsec,
                seen.st_blocks
            ),
            (
                below.st_mode,
                below.st_size,
                below.st_ctime_nsec,
                below.st_blocks
            ),
            "round {round}"
        );
    }
    assert!(Counted::of(&mount).answered("LOOKUP") > 50);
    mount.finish();
}

/// A rename from one directory to another makes one of them stale, or what was replaced.
fn a_rename_is_seen_in_both_directories(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    bash(mount.lower(), "mkdir a b a/d; touch a/x b/y");
    for round in 0..20 {
        let sides = [mount.path(), mount.lower()];
        let side = sides[round / 2 % 2];
        let names = ["a", "b", "a/x", "b/x", "a/y", "b/y", "a/d", "b/d"];
        for name in names {
            warm(&mount.path().join(name));
        }
        let rename = |from: &str, to: &str| fs::rename(side.join(from), side.join(to)).unwrap();
        if round % 2 == 0 {
            rename("a/d", "b/d");
            rename("a/x", "b/y");
            assert_eq!(lstat(&mount.path().join("a/x")).unwrap_err(), Errno::ENOENT);
        } else {
            rename("b/d", "a/d");
            rename("b/y", "a/x");
            fs::write(side.join("b/y"), "").unwrap();
        }
        for name in names {
            let [seen, below] = sides.map(|side| lstat(&side.join(name)));
            let known = |stat: nix::Result<nix::libc::stat>| {
                stat.map(|stat| (stat.st_ino, stat.st_nlink, stat.st_mtime_nsec, stat.st_size))
            };
            assert_eq!(known(seen), known(below), "{name} after round {round}");
        }
    }
    mount.finish();
}

/// Every GETXATTR is answered with "no such attribute".
fn an_extended_attribute_is_seen_as_soon_as_it_is_set(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    let (seen, below) = (mount.path().join("file"), mount.lower().join("file"));
    fs::write(&below, "").unwrap();
    let get = || {
        let mut value = [0; 8];
        let got = rustix::fs::getxattr(&seen, "user.x", value.as_mut_slice());
        got.map(|len| value[..len].to_vec())
    };
    for round in 0..20u8 {
        for _ in 0..3 {
            assert!(get().is_err(), "round {round}");
        }
        let side = [&seen, &below][usize::from(round % 2)];
        rustix::fs::setxattr(side, "user.x", &[round], XattrFlags::empty()).unwrap();
        for _ in 0..3 {
            assert_eq!(get(), Ok(vec![round]));
        }
        rustix::fs::removexattr(side, "user.x").unwrap();
    }
    assert!(Counted::of(&mount).answered("GETXATTR") > 20);
    mount.finish();
}

/// FLUSH is answered with success, which hides errors of writing back and keeps locks.
fn a_flush_always_reaches_the_daemon(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    for round in 0..30 {
        fs::write(mount.path().join("file"), format!("{round}")).unwrap();
    }
    let counted = Counted::of(&mount);
    assert_eq!(counted.answered("FLUSH"), 0);
    assert!(counted.dispatched("FLUSH") >= 30);
    for opcode in [
        "OPEN", "RELEASE", "READ", "WRITE", "READDIR", "READLINK", "STATFS",
    ] {
        assert_eq!(counted.answered(opcode), 0, "{opcode}");
    }
    mount.finish();
}

/// A cache that is full takes nothing new any more.
fn a_full_table_evicts_and_says_so(variant: Variant) {
    let mount = mounted(TestMount::builder(variant).args(&["--s1-entries", "64"]));
    let file = |root: &Path, i: usize| root.join(format!("file{i}"));
    for i in 0..500 {
        fs::write(file(mount.lower(), i), "x").unwrap();
    }
    for i in 0..500 {
        warm(&file(mount.path(), i));
    }
    let full = Counted::of(&mount);
    assert!(full.s1("evicted") > 100, "{}", full.s1("evicted"));
    assert!(full.s1("entries") < 100);
    // What comes last is answered as what came first.
    for i in 490..500 {
        for _ in 0..10 {
            warm(&file(mount.path(), i));
        }
    }
    let later = Counted::of(&mount);
    assert!(later.answered("LOOKUP") > full.answered("LOOKUP") + 100);
    mount.finish();
}

/// Programs stay attached after their daemon has died.
fn nothing_is_left_of_a_daemon_that_was_killed(variant: Variant) {
    let mut mount = mounted(TestMount::builder(variant));
    fs::write(mount.path().join("file"), "x").unwrap();
    warm(&mount.path().join("file"));
    let folder = PathBuf::from(format!("/proc/{}/fdinfo", mount.the_daemon().pid()));
    let ids = |key: &str| -> Vec<u32> {
        let entries = fs::read_dir(&folder).unwrap().flatten();
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let of = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse().ok()
        };
        texts.filter_map(of).collect()
    };
    let (programs, maps) = (ids("prog_id:"), ids("map_id:"));
    assert!(programs.len() >= 3 && maps.len() >= 8);
    mount.the_daemon().kill();
    wait_until("no program is left", || {
        let mut loaded = aya::programs::loaded_programs().flatten();
        !loaded.any(|program| programs.contains(&program.id()))
    });
    wait_until("no map is left", || {
        let mut loaded = aya::maps::loaded_maps().flatten();
        !loaded.any(|map| maps.contains(&map.id()))
    });
    mount.abandon();
}

for_every_shm_variant!(
    on_variant,
    [
        an_entry_comes_with_the_attributes_of_now,
        a_rename_is_seen_in_both_directories,
        an_extended_attribute_is_seen_as_soon_as_it_is_set,
        a_flush_always_reaches_the_daemon,
        a_full_table_evicts_and_says_so,
        nothing_is_left_of_a_daemon_that_was_killed,
    ]
);
