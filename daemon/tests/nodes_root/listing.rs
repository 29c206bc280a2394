//! Directories with many entries, and trees with many files.

use crate::common::{LowerFs, TestMount, Variant};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

fn make_files(dir: &Path, names: impl Iterator<Item = String>) {
    for name in names {
        File::create_new(dir.join(name)).unwrap();
    }
}

fn a_walk_of_100_000_files_misses_none_with_1024_descriptors(variant: Variant) {
    let mut mount = TestMount::builder(variant)
        .lower_fs(LowerFs::Memory)
        .descriptor_limit(1024)
        .mount();
    let (dirs, files) = (500, 200);
    for dir in 0..dirs {
        let dir = mount
            .lower()
            .join(format!("dir{}", dir % 20))
            .join(format!("dir{dir}"));
        fs::create_dir_all(&dir).unwrap();
        make_files(&dir, (0..files).map(|file| format!("file{file}")));
    }
    let mut found = 0;
    let mut todo = vec![mount.path().to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        {
            let entry = entry.unwrap();
            // Asks the daemon, unlike the type in the entry.
            let meta = entry.path().symlink_metadata().unwrap_or_else(|error| {
                panic!("{}: {error}", entry.path().display());
            });
            if meta.is_dir() {
                todo.push(entry.path());
            } else {
                found += 1;
            }
        }
    }
    assert_eq!(found, dirs * files);
    let descriptors = mount.the_daemon().descriptors();
    assert!(descriptors < 1024, "{descriptors} descriptors");
    for dir in 0..dirs {
        let path = mount.path().join(format!("dir{}/dir{dir}/file7", dir % 20));
        fs::write(&path, "text").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }
    mount.finish();
}

fn list(dir: &Path) -> Vec<CString> {
    let fd = openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    Dir::read_from(&fd)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| name.as_c_str() != c"." && name.as_c_str() != c"..")
        .collect()
}

/// Tells the others to stop, also when the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn a_listing_of_50_000_has_each_stable_entry_once_while_others_come_and_go(mount: &TestMount) {
    const STABLE: usize = 50_000;
    let dir = mount.path().join("dir");
    fs::create_dir(&dir).unwrap();
    let below = mount.lower().join("dir");
    make_files(&below, (0..STABLE).map(|number| format!("stable{number}")));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done_at_the_end = SetOnDrop(&done);
        for (who, dir) in [("above", &dir), ("below", &below)] {
            let done = &done;
            scope.spawn(move || {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let batch = || (0..100).map(|number| format!("{who}{round}-{number}"));
                    make_files(dir, batch());
                    batch().for_each(|name| fs::remove_file(dir.join(name)).unwrap());
                }
            });
        }
        for _ in 0..3 {
            let names = list(&dir);
            let mut times: BTreeMap<&CString, u32> = BTreeMap::new();
            for name in &names {
                *times.entry(name).or_default() += 1;
            }
            let stable = times
                .iter()
                .filter(|(name, _)| name.as_bytes().starts_with(b"stable"))
                .count();
            let twice: Vec<_> = times
                .iter()
                .filter(|(name, times)| name.as_bytes().starts_with(b"stable") && **times > 1)
                .take(5)
                .collect();
            assert_eq!(stable, STABLE);
            assert!(twice.is_empty(), "{twice:?}");
        }
    });
}

fn a_listing_goes_on_where_seekdir_says(mount: &TestMount) {
    make_files(
        mount.lower(),
        (0..500).map(|number| format!("file{number}")),
    );
    let fd = openat(
        CWD,
        mount.path(),
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .unwrap();
    let mut dir = Dir::read_from(&fd).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = dir.read() {
        let entry = entry.unwrap();
        entries.push((entry.file_name().to_owned(), entry.offset()));
    }
    assert_eq!(entries.len(), 502);
    for (index, (_, offset)) in entries.iter().enumerate().step_by(37) {
        dir.seek(*offset).unwrap();
        let next = dir
            .read()
            .map(|entry| entry.unwrap().file_name().to_owned());
        assert_eq!(next.as_ref(), entries.get(index + 1).map(|(name, _)| name));
    }
    dir.rewind();
    assert_eq!(
        dir.read().unwrap().unwrap().file_name(),
        entries[0].0.as_c_str()
    );
}

fn a_rewound_directory_shows_what_has_come_since(mount: &TestMount) {
    make_files(mount.path(), (0..10).map(|number| format!("file{number}")));
    let fd = openat(
        CWD,
        mount.path(),
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .unwrap();
    let mut dir = Dir::read_from(&fd).unwrap();
    assert_eq!(std::iter::from_fn(|| dir.read()).count(), 12);
    File::create(mount.path().join("new")).unwrap();
    dir.rewind();
    assert_eq!(std::iter::from_fn(|| dir.read()).count(), 13);
}

fn numbers_and_types_in_a_listing_are_those_of_stat(mount: &TestMount) {
    crate::common::bash(
        mount.lower(),
        "mkdir dir; touch file; ln -s file soft; ln file hard; mkfifo fifo; mknod null c 1 3",
    );
    let fd = openat(
        CWD,
        mount.path(),
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .unwrap();
    let mut seen = BTreeSet::new();
    for entry in Dir::read_from(&fd).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        if name == ".." {
            continue;
        }
        let meta = fs::symlink_metadata(mount.path().join(&name)).unwrap();
        assert_eq!(entry.ino(), meta.ino(), "{name}");
        assert_eq!(
            entry.file_type().as_raw_mode(),
            meta.mode() & nix::libc::S_IFMT,
            "{name}"
        );
        seen.insert(name);
    }
    assert_eq!(seen.len(), 7);
}

mod limited {
    use super::*;
    /// One with private memory and one with shared memory; the others in the full run.
    macro_rules! on_transports {
        ($($module:ident: $variant:ident),*) => {
            $(variant_tests!(
                $module,
                Variant::$variant,
                on_variant,
                [a_walk_of_100_000_files_misses_none_with_1024_descriptors]
            );)*
        };
    }
    on_transports!(
        uring_copy_strict: URING_COPY,
        shm_copy_strict: SHM_COPY,
        full_run_classic_copy_strict: CLASSIC_COPY,
        full_run_splice_copy_strict: SPLICE_COPY,
        full_run_shm_kernel_copy_strict: SHM_KERNEL_COPY
    );
}

mod mounted {
    use super::*;
    for_every_transport!(
        on_mount,
        [
            a_listing_of_50_000_has_each_stable_entry_once_while_others_come_and_go,
            a_listing_goes_on_where_seekdir_says,
            a_rewound_directory_shows_what_has_come_since,
            numbers_and_types_in_a_listing_are_those_of_stat,
        ]
    );
}

variant_tests!(
    native,
    Variant::Native,
    on_mount,
    [
        a_listing_of_50_000_has_each_stable_entry_once_while_others_come_and_go,
        a_listing_goes_on_where_seekdir_says,
        a_rewound_directory_shows_what_has_come_since,
        numbers_and_types_in_a_listing_are_those_of_stat,
    ]
);

// The kernel opens directories by itself.
variant_tests!(
    uring_copy_coherent,
    Variant::URING_COPY.coherent(),
    on_mount,
    [
        a_listing_of_50_000_has_each_stable_entry_once_while_others_come_and_go,
        a_listing_goes_on_where_seekdir_says,
        a_rewound_directory_shows_what_has_come_since,
        numbers_and_types_in_a_listing_are_those_of_stat,
    ]
);
