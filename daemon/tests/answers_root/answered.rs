//! What is answered, and what is not.

use super::counted::{Counted, mounted};
use crate::common::{LowerFs, MountBuilder, TestMount, Variant, image::Image};
use nix::{errno::Errno, sys::stat::lstat};
use rustix::fs::{AtFlags, CWD, StatxFlags, XattrFlags};
use std::{fs, path::Path, thread};

/// More often than anything is asked for before it is answered.
const TIMES: u64 = 20;

fn ask(path: &Path) {
    for _ in 0..TIMES {
        let _ = lstat(path);
    }
}

fn names_and_attributes_are_answered_and_are_those_below(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    fs::create_dir(mount.lower().join("dir")).unwrap();
    fs::write(mount.lower().join("dir/file"), "content").unwrap();
    for name in ["dir", "dir/file"] {
        ask(&mount.path().join(name));
        let (seen, below) = (
            lstat(&mount.path().join(name)).unwrap(),
            lstat(&mount.lower().join(name)).unwrap(),
        );
        assert_eq!(
            (
                seen.st_ino,
                seen.st_mode,
                seen.st_nlink,
                seen.st_uid,
                seen.st_gid
            ),
            (
                below.st_ino,
                below.st_mode,
                below.st_nlink,
                below.st_uid,
                below.st_gid
            )
        );
        assert_eq!(
            (seen.st_size, seen.st_blocks, seen.st_blksize),
            (below.st_size, below.st_blocks, below.st_blksize)
        );
        assert_eq!(
            (
                seen.st_mtime,
                seen.st_mtime_nsec,
                seen.st_ctime,
                seen.st_ctime_nsec
            ),
            (
                below.st_mtime,
                below.st_mtime_nsec,
                below.st_ctime,
                below.st_ctime_nsec
            )
        );
    }
    let counted = Counted::of(&mount);
    assert!(counted.is_on());
    assert!(counted.answered("LOOKUP") >= TIMES, "LOOKUP");
    assert!(counted.answered("GETATTR") >= TIMES, "GETATTR");
    assert!(counted.dispatched("LOOKUP") < TIMES, "LOOKUP to the daemon");
    mount.finish();
}

fn names_that_are_not_there_are_answered_until_they_are(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    let path = mount.path().join("name");
    for _ in 0..TIMES {
        assert_eq!(lstat(&path).unwrap_err(), Errno::ENOENT);
    }
    assert!(Counted::of(&mount).answered("LOOKUP") >= TIMES / 2);
    fs::write(mount.lower().join("name"), "").unwrap();
    assert!(lstat(&path).is_ok(), "made below");
    fs::remove_file(&path).unwrap();
    assert_eq!(lstat(&path).unwrap_err(), Errno::ENOENT, "removed");
    fs::write(&path, "").unwrap();
    assert!(lstat(&path).is_ok(), "made");
    mount.finish();
}

fn long_names_are_the_daemons(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    for len in [1, 7, 8, 9, 63, 64, 223, 224, 225, 255] {
        let name = "n".repeat(len);
        fs::write(mount.lower().join(&name), name.as_bytes()).unwrap();
        let other = format!("{}m", &name[1..]);
        for _ in 0..3 {
            assert_eq!(
                lstat(&mount.path().join(&name)).unwrap().st_size,
                len as i64
            );
            assert_eq!(
                lstat(&mount.path().join(&other)).unwrap_err(),
                Errno::ENOENT
            );
        }
    }
    mount.finish();
}

fn statx_with_the_time_of_birth_is_answered(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    fs::write(mount.lower().join("file"), "content").unwrap();
    let statx = |root: &Path| {
        let mask = StatxFlags::ALL;
        let stat = rustix::fs::statx(CWD, root.join("file"), AtFlags::empty(), mask).unwrap();
        let times = [
            stat.stx_btime,
            stat.stx_mtime,
            stat.stx_ctime,
            stat.stx_atime,
        ];
        let times = times.map(|time| (time.tv_sec, time.tv_nsec));
        (
            times,
            stat.stx_size,
            stat.stx_blocks,
            stat.stx_ino,
            stat.stx_mode,
        )
    };
    for _ in 0..TIMES {
        assert_eq!(statx(mount.path()), statx(mount.lower()));
    }
    assert!(Counted::of(&mount).answered("STATX") >= TIMES / 2);
    rustix::fs::chmod(mount.lower().join("file"), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(statx(mount.path()), statx(mount.lower()));
    mount.finish();
}

fn extended_attributes_are_answered_in_every_size(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    let (seen, below) = (mount.path().join("file"), mount.lower().join("file"));
    fs::write(&below, "").unwrap();
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(&below, name, value, XattrFlags::empty()).unwrap();
    };
    let get = |path: &Path, name: &str, room: usize| {
        let mut value = vec![0; room];
        rustix::fs::getxattr(path, name, value.as_mut_slice()).map(|len| {
            value.truncate(len);
            value
        })
    };
    for len in [0, 1, 8, 223, 224, 225, 1000] {
        let value = vec![b'v'; len];
        set("user.value", &value);
        for room in [1000, 1000, len, len, 0, len / 2, 1000] {
            assert_eq!(
                get(&seen, "user.value", room),
                get(&below, "user.value", room),
                "{len} bytes, room for {room}"
            );
            assert!(get(&seen, "user.nothing", room).is_err());
        }
        let mut names = [0; 100];
        let listed = rustix::fs::listxattr(&seen, names.as_mut_slice()).unwrap();
        assert_eq!(&names[..listed], b"user.value\0");
    }
    let counted = Counted::of(&mount);
    assert!(counted.answered("GETXATTR") > 0);
    assert!(counted.answered("LISTXATTR") == 0 || listed_twice(&seen));
    mount.finish();
}

fn listed_twice(path: &Path) -> bool {
    let list = || rustix::fs::listxattr(path, [0; 100].as_mut_slice());
    list() == list()
}

fn a_denied_name_is_refused_and_no_other(variant: Variant) {
    let deny = ["--deny", "secret", "--deny", "core=ENOENT"];
    let mount = mounted(TestMount::builder(variant).args(&deny));
    for name in ["secret", "core", "secre", "secrets", "cor", "core1"] {
        fs::write(mount.lower().join(name), "x").unwrap();
    }
    for _ in 0..3 {
        let errno = |name: &str| lstat(&mount.path().join(name)).err();
        assert_eq!(errno("secret"), Some(Errno::EACCES));
        assert_eq!(errno("core"), Some(Errno::ENOENT));
        for name in ["secre", "secrets", "cor", "core1"] {
            assert_eq!(errno(name), None, "{name}");
        }
        // A listing tells names, not attributes, of which there are none then.
        assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 6);
    }
    assert!(fs::write(mount.path().join("secret"), "y").is_err());
    assert!(fs::rename(mount.path().join("cor"), mount.path().join("secret")).is_err());
    assert_eq!(fs::read(mount.lower().join("secret")).unwrap(), b"x");
    assert!(Counted::of(&mount).denied("LOOKUP") >= 3);
    mount.finish();
}

/// In the kernel engine what is answered never enters the daemon: it waits for nobody there.
fn answers_do_not_wait_for_a_daemon_that_sleeps(variant: Variant) {
    // Changes of others on the same file system share generations with ours (protocol 8.1): one question would miss,
    // and that one waits.
    let image = Image::make("ext4");
    let builder = TestMount::builder(variant).lower(&image.dir("lower"));
    // A slot is free for who asks meanwhile, also if all who sleep were on its CPU.
    let delay = ["--lower-delay", "10s:slow*", "--queue-depth", "32"];
    let mount = mounted(builder.args(&delay));
    fs::write(mount.lower().join("file"), "x").unwrap();
    // Writing back gives the file its blocks, which is a change like any other.
    for path in [mount.lower().join("file"), mount.lower().to_owned()] {
        fs::File::open(path).unwrap().sync_all().unwrap();
    }
    ask(&mount.path().join("file"));
    let root = mount.path();
    let slow = |i: u32| root.join(format!("slow{i}"));
    let before = Counted::of(&mount).answered("LOOKUP");
    thread::scope(|scope| {
        let sleepers: Vec<_> = (0..8)
            .map(|i| scope.spawn(move || lstat(&slow(i))))
            .collect();
        for _ in 0..TIMES {
            assert_eq!(lstat(&mount.path().join("file")).unwrap().st_size, 1);
        }
        let ended = sleepers.iter().filter(|sleeper| sleeper.is_finished());
        assert_eq!(ended.count(), 0, "requests that sleep 10 s");
        // They do not answer wrongly for being slow.
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap().unwrap_err(), Errno::ENOENT);
        }
    });
    assert!(Counted::of(&mount).answered("LOOKUP") >= before + TIMES);
    mount.finish();
}

variant_tests!(
    shm_kernel_engine,
    Variant::SHM_KERNEL_COPY,
    on_variant,
    [answers_do_not_wait_for_a_daemon_that_sleeps]
);

fn nothing_is_answered_when_switched_off(variant: Variant) {
    nothing_is_answered(TestMount::builder(variant).args(&["--s1", "off"]));
}

fn nothing_is_answered_where_changes_are_not_noticed(variant: Variant) {
    nothing_is_answered(TestMount::builder(variant).lower_fs(LowerFs::Memory));
}

fn nothing_is_answered(builder: MountBuilder) {
    let mount = mounted(builder);
    fs::write(mount.lower().join("file"), "").unwrap();
    ask(&mount.path().join("file"));
    let counted = Counted::of(&mount);
    assert!(!counted.is_on());
    assert_eq!(counted.all_answered(), 0);
    mount.finish();
}

for_every_shm_variant!(
    on_variant,
    [
        names_and_attributes_are_answered_and_are_those_below,
        names_that_are_not_there_are_answered_until_they_are,
        long_names_are_the_daemons,
        statx_with_the_time_of_birth_is_answered,
        extended_attributes_are_answered_in_every_size,
        a_denied_name_is_refused_and_no_other,
        nothing_is_answered_when_switched_off,
        nothing_is_answered_where_changes_are_not_noticed,
    ]
);
