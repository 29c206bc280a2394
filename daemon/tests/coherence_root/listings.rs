//! Listings that the kernel keeps, of directories that it opens by itself.

use crate::common::{TestMount, Variant, bash, stat, wait_until};
use rustix::fs::{Dir, Mode, OFlags};
use std::{collections::BTreeSet, fs, path::Path};

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).into_string().expect("UTF-8"))
        .collect()
}

fn arrivals(mount: &TestMount) -> u64 {
    let ops = &stat(mount.path())["ops"];
    let of = |opcode: &str| ops[opcode]["arrivals"].as_u64().unwrap_or_default();
    of("OPENDIR") + of("RELEASEDIR") + of("READDIR") + of("READDIRPLUS")
}

fn what_was_listed_is_listed_again_without_a_request(variant: Variant) {
    let mount = TestMount::new(variant);
    bash(mount.lower(), "mkdir a; touch a/{1..50}");
    let dir = mount.path().join("a");
    // The first listing may be READDIRPLUS, which the kernel does not keep.
    wait_until("the listing is kept", || {
        let before = arrivals(&mount);
        assert_eq!(names(&dir).len(), 50);
        arrivals(&mount) == before
    });
    fs::write(mount.lower().join("a/51"), "").expect("a file below");
    wait_until("the new file is listed", || names(&dir).len() == 51);
    fs::remove_file(dir.join("51")).expect("to remove a file");
    assert_eq!(names(&dir).len(), 50);
    mount.finish();
}

fn a_large_listing_can_be_left_and_taken_up_again(variant: Variant) {
    let mount = TestMount::new(variant);
    bash(mount.lower(), "touch {1..5000}");
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        rustix::fs::open(mount.path(), flags, Mode::empty()).expect("the directory")
    };
    let mut dir = Dir::new(open()).expect("its listing");
    let mut place = None;
    let mut seen = Vec::new();
    for index in 0..5002 {
        let entry = dir.read().expect("an entry").expect("no error");
        if index == 3000 {
            place = Some(entry.offset());
        }
        seen.push(entry.file_name().to_owned());
    }
    assert!(dir.read().is_none(), "more entries than there are");
    assert_eq!(
        seen.iter().collect::<BTreeSet<_>>().len(),
        5002,
        "an entry twice"
    );
    // By another descriptor, at an offset in the middle.
    let mut again = Dir::new(open()).expect("its listing");
    again.seek(place.expect("it was passed")).expect("to seek");
    let rest: Vec<_> = std::iter::from_fn(|| again.read())
        .map(|entry| entry.expect("no error").file_name().to_owned())
        .collect();
    assert_eq!(rest, seen[3001..]);
    drop((dir, again));
    mount.finish();
}

fn a_directory_that_was_removed_while_open_is_listed_as_any_other(variant: Variant) {
    let mount = TestMount::new(variant);
    for by in [mount.lower(), mount.path()] {
        fs::create_dir(mount.lower().join("gone")).expect("a directory");
        wait_until("the directory is there", || {
            mount.path().join("gone").exists()
        });
        let open = |root: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            rustix::fs::open(root.join("gone"), flags, Mode::empty()).expect("the directory")
        };
        let (above, below) = (open(mount.path()), open(mount.lower()));
        fs::remove_dir(by.join("gone")).expect("to remove it");
        let listed = |fd| {
            Dir::new(fd)
                .expect("a listing")
                .read()
                .map(|entry| entry.map(drop))
        };
        assert_eq!(listed(above), listed(below));
    }
    mount.finish();
}

variant_tests!(
    shm_coherent,
    Variant::SHM_COPY.coherent(),
    on_variant,
    [
        what_was_listed_is_listed_again_without_a_request,
        a_large_listing_can_be_left_and_taken_up_again,
        a_directory_that_was_removed_while_open_is_listed_as_any_other,
    ]
);
