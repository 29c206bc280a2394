//! Direct writes in append mode that take several requests, which the kernel sends at once: it does so
//! for a file that got `O_DIRECT` after it was opened, and for asynchronous I/O (`fuse_direct_IO`,
//! fs/fuse/file.c).

use crate::common::{LowerFs, TestMount, Variant};
use rustix::fs::{OFlags, fcntl_setfl};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
};

/// What the kernel puts into one request, by the options of [`mount`].
const REQUEST: usize = 16 << 10;
const REQUESTS: usize = 16;
const ALL: usize = REQUEST * REQUESTS;
const ROUNDS: usize = 12;

/// Memory aligned as direct I/O wants it.
#[repr(C, align(4096))]
struct Aligned([u8; ALL]);

/// Each block says which it is.
fn content(round: usize) -> Box<Aligned> {
    let mut content = Box::new(Aligned([0; ALL]));
    for (number, block) in content.0.chunks_mut(512).enumerate() {
        block.fill((number + 1) as u8);
        block[..16].copy_from_slice(format!("{round:7}:{number:8}").as_bytes());
    }
    content
}

fn mount(variant: Variant) -> TestMount {
    let builder = TestMount::builder(variant).lower_fs(LowerFs::Disk);
    let args = ["--max-write", "16K", "--queue-depth", "16"];
    builder.args(&args).mount()
}

fn open(mount: &TestMount) -> File {
    let path = mount.path().join("file");
    let mut options = File::options();
    let file = options.append(true).create(true).open(path).unwrap();
    fcntl_setfl(&file, OFlags::DIRECT | OFlags::APPEND).unwrap();
    file
}

/// Writes what this round writes, by one write(2), and adds it to what is to be in the file.
fn append(file: &File, round: usize, expected: &mut Vec<u8>) {
    let written = content(round);
    assert_eq!(file.write_at(&written.0, 0).unwrap(), ALL);
    expected.extend_from_slice(&written.0);
}

/// Whether `found` is what these rounds wrote; if not, which blocks are where others should be.
fn is_in_order(found: &[u8], expected: &[u8], when: &str) {
    assert_eq!(found.len(), expected.len(), "{when}");
    let wrong = found
        .chunks(512)
        .zip(expected.chunks(512))
        .find(|(is, ought)| is != ought);
    if let Some((is, ought)) = wrong {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..16]).into_owned();
        panic!("{when}: {:?} where {:?} should be", text(is), text(ought));
    }
}

fn requests_of_one_write_follow_each_other(variant: Variant) {
    let mount = mount(variant);
    let file = open(&mount);
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        append(&file, round, &mut expected);
    }
    let found = fs::read(mount.lower().join("file")).unwrap();
    is_in_order(&found, &expected, variant.name().as_str());
    drop(file);
    mount.finish();
}

/// The kernel believes that the file ends where its own writes end.
fn they_do_so_behind_what_others_appended_below(variant: Variant) {
    let mount = mount(variant);
    let file = open(&mount);
    let mut below = OpenOptions::new()
        .append(true)
        .open(mount.lower().join("file"))
        .unwrap();
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let other = vec![b'.'; 4096 * (1 + round % 3)];
        below.write_all(&other).unwrap();
        expected.extend_from_slice(&other);
        append(&file, round, &mut expected);
    }
    let found = fs::read(mount.lower().join("file")).unwrap();
    is_in_order(&found, &expected, variant.name().as_str());
    drop((file, below));
    mount.finish();
}

/// The kernel believes in a longer file than there is, or in a shorter one.
fn they_do_so_in_a_file_that_was_cut_below(variant: Variant) {
    let mount = mount(variant);
    let file = open(&mount);
    let below = OpenOptions::new()
        .write(true)
        .open(mount.lower().join("file"))
        .unwrap();
    for round in 0..ROUNDS {
        below.set_len((round % 4 * REQUEST) as u64).unwrap();
        let mut expected = fs::read(mount.lower().join("file")).unwrap();
        append(&file, round, &mut expected);
        let found = fs::read(mount.lower().join("file")).unwrap();
        is_in_order(&found, &expected, variant.name().as_str());
    }
    drop((file, below));
    mount.finish();
}

for_every_transport!(
    on_variant,
    [
        requests_of_one_write_follow_each_other,
        they_do_so_behind_what_others_appended_below,
        they_do_so_in_a_file_that_was_cut_below,
    ]
);
