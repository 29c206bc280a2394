//! O_DIRECT, alone and beside the page cache.

use crate::common::{TestMount, bash};
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
};

/// Memory aligned as direct I/O wants it.
#[repr(C, align(4096))]
struct Aligned([u8; 64 << 10]);

fn filled(byte: u8) -> Box<Aligned> {
    Box::new(Aligned([byte; 64 << 10]))
}

fn direct_writes_and_reads_move_the_same_bytes(mount: &TestMount) {
    let source = mount.scratch().join("source");
    let bytes: Vec<u8> = (0..5_u32 << 20)
        .map(|i| (i.wrapping_mul(40_503) >> 7) as u8)
        .collect();
    fs::write(&source, &bytes).unwrap();
    for block in ["4k", "64k", "1M", "3M"] {
        bash(
            mount.path(),
            &format!(
                "dd if={source} of=direct bs={block} oflag=direct status=none
                 cmp {source} direct
                 dd if=direct of=../back bs={block} iflag=direct status=none
                 cmp {source} ../back
                 cmp {source} ../lower/direct
                 rm direct",
                source = source.display(),
            ),
        );
    }
}

fn direct_and_buffered_access_to_one_file_see_each_other(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, vec![1; 256 << 10]).unwrap();
    let buffered = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let direct = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_DIRECT)
        .open(&path)
        .unwrap();
    let read = |file: &File, offset: u64| {
        let mut buffer = filled(0);
        file.read_exact_at(&mut buffer.0, offset).unwrap();
        assert!(
            buffer.0.iter().all(|&byte| byte == buffer.0[0]),
            "a torn block"
        );
        buffer.0[0]
    };
    for round in 2..60_u8 {
        let offset = u64::from(round % 4) * (64 << 10);
        if round % 2 == 0 {
            direct.write_all_at(&filled(round).0, offset).unwrap();
        } else {
            buffered.write_all_at(&filled(round).0, offset).unwrap();
        }
        assert_eq!(
            read(&buffered, offset),
            round,
            "buffered read in round {round}"
        );
        assert_eq!(read(&direct, offset), round, "direct read in round {round}");
    }
}

for_every_variant_and_writeback!(
    on_mount,
    [
        direct_writes_and_reads_move_the_same_bytes,
        direct_and_buffered_access_to_one_file_see_each_other,
    ]
);
