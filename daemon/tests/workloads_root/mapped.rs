//! Files mapped into memory.

#![expect(
    unsafe_code,
    reason = "mapping a file that others write is what is tested"
)]

use crate::common::{TestMount, child::Forked};
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    ptr,
};

const LEN: usize = 1 << 20;

fn open(mount: &TestMount, name: &str) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(mount.path().join(name))
        .unwrap()
}

fn map_shared(file: &File) -> MmapMut {
    // SAFETY: the mapping is reached by `peek` and `poke` only while others may write.
    unsafe { MmapMut::map_mut(file) }.unwrap()
}

fn peek(map: &MmapMut, at: usize) -> u8 {
    assert!(at < map.len());
    // SAFETY: inside the mapping, which the file backs for its whole length.
    unsafe { ptr::read_volatile(map.as_ptr().add(at)) }
}

fn poke(map: &mut MmapMut, at: usize, byte: u8) {
    assert!(at < map.len());
    // SAFETY: inside the mapping, which the file backs for its whole length.
    unsafe { ptr::write_volatile(map.as_mut_ptr().add(at), byte) }
}

fn a_shared_mapping_is_one_memory_for_two_processes(mount: &TestMount) {
    let file = open(mount, "shared");
    file.set_len(LEN as u64).unwrap();
    let mut map = map_shared(&file);
    let writer = Forked::start(|| {
        let mut map = map_shared(&open(mount, "shared"));
        for at in (0..LEN).step_by(4096) {
            assert_eq!(peek(&map, at), 0);
            poke(&mut map, at, (at / 4096) as u8 ^ 0x5a);
        }
    });
    writer.join();
    for at in (0..LEN).step_by(4096) {
        assert_eq!(
            peek(&map, at),
            (at / 4096) as u8 ^ 0x5a,
            "byte {at} in the other mapping"
        );
    }
    let mut buffer = vec![0; LEN];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(
        buffer[4096],
        1 ^ 0x5a,
        "read(2) of what was written through the mapping"
    );
    poke(&mut map, 77, 7);
    map.flush().unwrap();
    let below = fs::read(mount.lower().join("shared")).unwrap();
    assert_eq!(below[77], 7, "the lower file after msync");
    file.write_all_at(b"written", 5000).unwrap();
    assert_eq!(peek(&map, 5000), b'w', "the mapping after write(2)");
}

fn a_mapping_outlives_its_descriptor_and_its_name(mount: &TestMount) {
    let file = open(mount, "short-lived");
    file.write_all_at(&vec![3; LEN], 0).unwrap();
    let mut map = map_shared(&file);
    drop(file);
    fs::remove_file(mount.path().join("short-lived")).unwrap();
    assert_eq!(peek(&map, LEN - 1), 3);
    poke(&mut map, 0, 4);
    map.flush().unwrap();
    assert_eq!(peek(&map, 0), 4);
}

fn a_private_mapping_keeps_its_writes_to_itself(mount: &TestMount) {
    let file = open(mount, "private");
    file.write_all_at(&vec![1; LEN], 0).unwrap();
    // SAFETY: nobody else writes the file.
    let mut map = unsafe { MmapOptions::new().map_copy(&file) }.unwrap();
    map[..4096].fill(9);
    let mut first = [0; 4096];
    file.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, [1; 4096]);
}

fn a_read_only_mapping_shows_what_was_written(mount: &TestMount) {
    let content: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    fs::write(mount.path().join("read"), &content).unwrap();
    let file = File::open(mount.path().join("read")).unwrap();
    // SAFETY: nobody writes the file any more.
    let map = unsafe { Mmap::map(&file) }.unwrap();
    assert!(map[..] == content[..], "content through the mapping");
}

for_every_variant_and_writeback!(
    on_mount,
    [
        a_shared_mapping_is_one_memory_for_two_processes,
        a_mapping_outlives_its_descriptor_and_its_name,
        a_private_mapping_keeps_its_writes_to_itself,
        a_read_only_mapping_shows_what_was_written,
    ]
);
