//! Pages that the kernel keeps: mounts without OPEN, and with write-back.

use crate::common::{TestMount, stat};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
};

/// The mount of [`Variant::SHM_WRITEBACK`], whose requests are counted by opcode.
fn arrivals(mount: &TestMount, opcode: &str) -> u64 {
    let stat = stat(mount.path());
    stat["ops"][opcode]["arrivals"].as_u64().unwrap_or(0)
}

fn files_are_opened_read_and_closed_without_a_request(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(mount.lower().join("file"), b"content").unwrap();
    let read = || {
        let mut text = String::new();
        fs::File::open(&path)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "content");
    };
    read();
    let before = ["OPEN", "FLUSH", "READ"].map(|opcode| arrivals(mount, opcode));
    // Requests that come before the rings are complete are not counted.
    assert!(before.iter().all(|count| *count <= 1), "{before:?}");
    for _ in 0..100 {
        read();
    }
    // A READ may follow each time the attributes' second is over and only if they have changed.
    let after = ["OPEN", "FLUSH", "READ"].map(|opcode| arrivals(mount, opcode));
    assert_eq!(after, before);
    assert_eq!(arrivals(mount, "RELEASE"), 0);
}

fn what_is_collected_has_its_size_and_times_at_once_and_below_when_it_is_closed(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    let mut file = fs::File::create(&above).unwrap();
    let writes_before = arrivals(mount, "WRITE");
    for n in 1..=256u64 {
        file.write_all(&[n as u8; 100]).unwrap();
        assert_eq!(fs::metadata(&above).unwrap().len(), 100 * n);
    }
    let seen = fs::metadata(&above).unwrap();
    drop(file);
    assert!(arrivals(mount, "WRITE") - writes_before < 16);
    let lower = fs::metadata(&below).unwrap();
    assert_eq!(lower.len(), 25_600);
    assert_eq!(
        (lower.mtime(), lower.mtime_nsec()),
        (seen.mtime(), seen.mtime_nsec())
    );
    let expected: Vec<u8> = (1..=256).flat_map(|n: u64| [n as u8; 100]).collect();
    assert!(fs::read(&below).unwrap() == expected);
}

fn what_fsync_acknowledged_is_below(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    let file = fs::File::create(&above).unwrap();
    for round in 0..20u8 {
        file.write_all_at(&[round; 5000], u64::from(round) * 5000)
            .unwrap();
        file.sync_data().unwrap();
        let lower = fs::File::open(&below).unwrap();
        let mut bytes = [0; 5000];
        lower
            .read_exact_at(&mut bytes, u64::from(round) * 5000)
            .unwrap();
        assert_eq!(bytes, [round; 5000]);
    }
}

/// A file that was opened for appending or for writing alone is read where a page of it is changed
/// in part.
fn parts_of_pages_are_changed_in_files_opened_for_writing_alone(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    fs::write(&below, vec![b'.'; 10_000]).unwrap();
    let file = fs::File::options().write(true).open(&above).unwrap();
    file.write_all_at(b"x", 5000).unwrap();
    let mut end = fs::File::options().append(true).open(&above).unwrap();
    end.write_all(b"end").unwrap();
    drop((file, end));
    let mut expected = vec![b'.'; 10_000];
    expected[5000] = b'x';
    expected.extend(b"end");
    assert!(fs::read(&below).unwrap() == expected);
}

variant_tests!(
    shm_writeback_ttl1,
    Variant::SHM_WRITEBACK,
    on_mount,
    [
        files_are_opened_read_and_closed_without_a_request,
        what_is_collected_has_its_size_and_times_at_once_and_below_when_it_is_closed,
        what_fsync_acknowledged_is_below,
        parts_of_pages_are_changed_in_files_opened_for_writing_alone,
    ]
);
