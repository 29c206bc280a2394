//! Many threads do anything to a few names. Nothing can be said of what each meets, but that it
//! is something that a plain directory could have shown, and that above and below agree at the end.

use crate::common::{TestMount, Tree, assert_same, daemon::wait_for_inodes, scale};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, XattrFlags, chmodat, linkat, mkdirat, openat,
        readlinkat, renameat_with, statat, symlinkat, unlinkat,
    },
    io::{Errno, pread, pwrite},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

/// `--cache ttl=1`, and a little.
const TTL: std::time::Duration = std::time::Duration::from_millis(1200);

const THREADS: u64 = 8;
const STEPS: u64 = 1500;

/// What a plain directory answers when others are faster.
const EXPECTED: &[Errno] = &[
    Errno::NOENT,
    Errno::EXIST,
    Errno::NOTDIR,
    Errno::ISDIR,
    Errno::NOTEMPTY,
    Errno::INVAL,
    Errno::LOOP,
    Errno::PERM,
    Errno::NODATA,
    Errno::MLINK,
];

/// What the kernel answers on its own account when names move behind the mount: `ESTALE` when a
/// directory turns up under another name and its locks are taken (`d_splice_alias`, fs/dcache.c).
/// The daemon answers `ESTALE` when what it has just made was replaced by another type; the kernel
/// tries once more, and then gives up.
const FROM_BELOW: &[Errno] = &[Errno::STALE];

/// A sequence of numbers that looks random: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn any_name(root: &Path, random: &mut Random) -> PathBuf {
    let dirs = ["", "x", "y", "x/z"];
    let names = ["a", "b", "c", "x", "y", "z"];
    root.join(dirs[random.below(4) as usize])
        .join(names[random.below(6) as usize])
}

fn step(root: &Path, random: &mut Random) -> Result<(), Errno> {
    let path = any_name(root, random);
    let other = any_name(root, random);
    match random.below(16) {
        0 | 1 => {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NONBLOCK;
            let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o644))?;
            pwrite(&file, &[7; 5000], random.below(10_000))?;
            let mut buffer = [0; 5000];
            let len = pread(&file, &mut buffer, random.below(10_000))?;
            assert!(
                buffer[..len].iter().all(|&byte| byte == 0 || byte == 7),
                "foreign bytes"
            );
            Ok(())
        }
        2 => renameat_with(CWD, &path, CWD, &other, RenameFlags::empty()),
        3 => renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE),
        4 => renameat_with(CWD, &path, CWD, &other, RenameFlags::NOREPLACE),
        5 => linkat(CWD, &path, CWD, &other, AtFlags::empty()),
        6 => symlinkat("a", CWD, &path),
        7 => unlinkat(CWD, &path, AtFlags::empty()),
        8 => unlinkat(CWD, &path, AtFlags::REMOVEDIR),
        9 | 10 => mkdirat(CWD, &path, Mode::RWXU),
        11 => statat(CWD, &path, AtFlags::empty()).map(drop),
        12 => readlinkat(CWD, &path, Vec::new()).map(drop),
        13 => {
            let dir = openat(
                CWD,
                path.parent().unwrap(),
                OFlags::DIRECTORY,
                Mode::empty(),
            )?;
            Dir::read_from(dir)?.try_for_each(|entry| entry.map(drop))
        }
        14 => chmodat(CWD, &path, Mode::from_raw_mode(0o700), AtFlags::empty()),
        _ => match random.below(3) {
            0 => truncate(&path, random.below(9000)),
            1 => rustix::fs::setxattr(&path, "user.k", b"v", XattrFlags::empty()),
            _ => rustix::fs::getxattr(&path, "user.k", &mut [0; 10][..]).map(drop),
        },
    }
}

fn truncate(path: &Path, len: u64) -> Result<(), Errno> {
    nix::unistd::truncate(path, len as i64).map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

fn many_threads_at_few_names_meet_nothing_strange(mount: &TestMount) {
    storm(mount, |_| mount.path(), EXPECTED);
}

fn many_threads_above_and_below_meet_nothing_strange(mount: &TestMount) {
    let root = |thread| {
        if thread % 4 == 0 {
            mount.lower()
        } else {
            mount.path()
        }
    };
    storm(mount, root, &[EXPECTED, FROM_BELOW].concat());
}

fn storm<'a>(mount: &TestMount, root: impl Fn(u64) -> &'a Path, expected: &[Errno]) {
    let strange: Mutex<BTreeMap<String, u64>> = Mutex::default();
    thread::scope(|scope| {
        for number in 1..=THREADS {
            let strange = &strange;
            let root = root(number);
            scope.spawn(move || {
                let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for _ in 0..STEPS * scale::factor() {
                    let before = random.0;
                    if let Err(errno) = step(root, &mut random)
                        && !expected.contains(&errno)
                    {
                        let mut again = Random(before);
                        any_name(root, &mut again);
                        any_name(root, &mut again);
                        let what = format!("operation {}: {errno}", again.below(16));
                        *strange.lock().unwrap().entry(what).or_default() += 1;
                    }
                }
            });
        }
    });
    let strange = strange.into_inner().unwrap();
    assert!(strange.is_empty(), "{strange:#?}");
    if mount.variant().is_cached() {
        // What changed below may stay unseen for as long as the kernel was told to believe.
        thread::sleep(TTL);
    }
    assert_same(
        "above and below",
        &Tree::of(mount.path()),
        &Tree::of(mount.lower()),
    );
    if let Some(daemon) = mount.daemon_seen() {
        wait_for_inodes(daemon, 1);
    }
}

for_every_variant!(
    on_mount,
    [
        many_threads_at_few_names_meet_nothing_strange,
        many_threads_above_and_below_meet_nothing_strange,
    ]
);
