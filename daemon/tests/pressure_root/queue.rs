//! Many processes against few slots: no write is lost, none is torn, and no two of one writer change
//! places.

use crate::common::{TestMount, Variant, child::Forked, scale};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

const FILES: usize = 16;
const WRITERS_PER_FILE: usize = 4;
/// Writes of each writer at scale 1.
const WRITES: u64 = 25;
/// Words of a record: its writer, its number, its length, and so many more.
const LENGTHS: [usize; 8] = [3, 4, 100, 512, 600, 3, 8192, 30_000];

/// A record: whose it is, its number, its length in words; then the number over and over.
fn record(writer: usize, number: u64) -> Vec<u8> {
    let len = LENGTHS[(number as usize * 7 + writer) % LENGTHS.len()];
    let head = [writer as u64, number, len as u64];
    let body = std::iter::repeat_n(number << 8 | writer as u64, len - head.len());
    let words = head.into_iter().chain(body);
    words.flat_map(u64::to_le_bytes).collect()
}

/// Goes through a file record by record; returns how many there are of each writer.
///
/// # Panics
///
/// If a record is torn, or is not the next of its writer.
fn check(contents: &[u8]) -> [u64; WRITERS_PER_FILE] {
    let mut counts = [0; WRITERS_PER_FILE];
    let mut rest = contents;
    while !rest.is_empty() {
        let words = rest.chunks_exact(8).take(3);
        let words: Vec<_> = words
            .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
            .collect();
        let [writer, number, len] = words[..] else {
            panic!("{} bytes behind the last record", rest.len());
        };
        let expected = record(writer as usize, number);
        assert_eq!(len as usize * 8, expected.len(), "a torn record");
        let (found, behind) = rest
            .split_at_checked(expected.len())
            .expect("a record that was cut short");
        assert!(found == expected, "record {number} of {writer} is torn");
        assert_eq!(counts[writer as usize], number, "records of {writer}");
        counts[writer as usize] += 1;
        rest = behind;
    }
    counts
}

fn write(mount: &Path, file: usize, writer: usize, writes: u64) {
    let path = mount.join(format!("file{file}"));
    let mut appended = File::options().append(true).open(&path).expect("the file");
    for number in 0..writes {
        let record = record(writer, number);
        let len = appended.write(&record).expect("a write");
        assert_eq!(len, record.len(), "a write in one piece");
        if number % 8 == writer as u64 {
            // What others write meanwhile may be cut at the end of what is read; what was mine
            // before is there.
            let mut seen = Vec::new();
            let mut opened = File::open(&path).expect("the file");
            opened.read_to_end(&mut seen).expect("a read");
            assert!(
                seen.windows(16)
                    .step_by(8)
                    .any(|words| words == &record[..16])
            );
        }
    }
}

fn many_processes_share_few_slots(mount: &TestMount) {
    let writes = WRITES * scale::factor();
    for file in 0..FILES {
        File::create(mount.path().join(format!("file{file}"))).expect("a file");
    }
    let writers: Vec<_> = (0..FILES * WRITERS_PER_FILE)
        .map(|index| {
            let (file, writer) = (index / WRITERS_PER_FILE, index % WRITERS_PER_FILE);
            Forked::start(|| write(mount.path(), file, writer, writes))
        })
        .collect();
    for writer in writers {
        writer.join();
    }
    for place in [mount.path(), mount.lower()] {
        for file in 0..FILES {
            let contents = fs::read(place.join(format!("file{file}"))).expect("the file");
            assert_eq!(check(&contents), [writes; WRITERS_PER_FILE]);
        }
    }
}

fn no_write_is_lost_or_changes_places_when_many_processes_share_few_slots(variant: Variant) {
    let mount = TestMount::builder(variant)
        .args(&["--queue-depth", "4"])
        .mount();
    many_processes_share_few_slots(&mount);
    mount.finish();
}

with_each_engine!([no_write_is_lost_or_changes_places_when_many_processes_share_few_slots]);
