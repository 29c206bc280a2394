//! Flags that an application changes while the file is open (`F_SETFL`): the kernel tells of them
//! only with the next read or write.

#![expect(
    unsafe_code,
    reason = "mapping a file that others write is what is tested"
)]

use crate::common::TestMount;
use memmap2::MmapMut;
use rustix::{
    fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, openat},
    io::{Errno, pread, pwrite},
};
use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
};

fn open(path: &Path, flags: OFlags) -> OwnedFd {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn appending_begins_and_ends_when_the_application_says(mount: &TestMount) {
    for dir in [mount.path(), mount.plain()] {
        let path = dir.join("file");
        fs::write(&path, "0123").unwrap();
        let file = open(&path, OFlags::RDWR);
        pwrite(&file, b"a", 1).unwrap();
        fcntl_setfl(&file, OFlags::APPEND).unwrap();
        pwrite(&file, b"b", 1).unwrap();
        fcntl_setfl(&file, OFlags::empty()).unwrap();
        pwrite(&file, b"c", 2).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0ac3b", "{}", dir.display());
    }
}

/// Others append to the lower file meanwhile: nothing is overwritten.
fn appends_above_and_below_do_not_meet(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    fs::write(&above, "").unwrap();
    let flags = OFlags::WRONLY | OFlags::APPEND;
    let (above, below) = (open(&above, flags), open(&below, flags));
    for _ in 0..100 {
        pwrite(&above, b"above\n", 0).unwrap();
        pwrite(&below, b"below\n", 0).unwrap();
    }
    let text = fs::read_to_string(mount.lower().join("file")).unwrap();
    assert_eq!(text, "above\nbelow\n".repeat(100));
    assert_eq!(fs::read_to_string(mount.path().join("file")).unwrap(), text);
}

/// The kernel writes mapped pages back through whatever file it finds: an appending one must not
/// append them.
fn pages_mapped_from_an_appending_file_go_to_their_place(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, vec![b'.'; 8192]).unwrap();
    let file = open(&path, OFlags::RDWR | OFlags::APPEND);
    // SAFETY: nobody else changes the file's length while it is mapped.
    let mut map = unsafe { MmapMut::map_mut(&file) }.unwrap();
    map[1] = b'x';
    map[5000] = b'y';
    map.flush().unwrap();
    drop((map, file));
    let lower = fs::read(mount.lower().join("file")).unwrap();
    assert_eq!((lower.len(), lower[1], lower[5000]), (8192, b'x', b'y'));
}

/// Memory aligned as direct I/O wants it.
#[repr(C, align(4096))]
struct Aligned([u8; 8192]);

fn direct_io_begins_and_ends_when_the_application_says(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, vec![b'.'; 8192]).unwrap();
    let file = open(&path, OFlags::RDWR);
    pwrite(&file, b"a", 1).unwrap();
    fcntl_setfl(&file, OFlags::DIRECT).unwrap();
    assert!(fcntl_getfl(&file).unwrap().contains(OFlags::DIRECT));
    let mut block = Box::new(Aligned([0; 8192]));
    assert_eq!(pread(&file, &mut block.0, 0), Ok(8192));
    assert_eq!(&block.0[..3], b".a.");
    block.0[2] = b'b';
    assert_eq!(pwrite(&file, &block.0, 0), Ok(8192));
    fcntl_setfl(&file, OFlags::empty()).unwrap();
    pwrite(&file, b"c", 3).unwrap();
    let mut bytes = [0; 5];
    assert_eq!(pread(&file, &mut bytes, 0), Ok(5));
    assert_eq!(&bytes, b".abc.");
    assert_eq!(
        &fs::read(mount.lower().join("file")).unwrap()[..5],
        b".abc."
    );
}

/// Offset and length of direct I/O are for the lower file system to judge.
fn direct_io_out_of_line_is_refused_as_below(mount: &TestMount) {
    let [got, expected] = [mount.path(), mount.plain()].map(|dir| {
        let path = dir.join("file");
        fs::write(&path, vec![b'.'; 8192]).unwrap();
        let file = open(&path, OFlags::RDWR | OFlags::DIRECT);
        let mut block = Box::new(Aligned([1; 8192]));
        [
            pread(&file, &mut block.0[..100], 0),
            pread(&file, &mut block.0[..4096], 7),
            pwrite(&file, &block.0[..4096], 100),
            pwrite(&file, &block.0[..1000], 0),
            pwrite(&file, &block.0[..4096], 4096),
        ]
    });
    assert_eq!(got, expected);
    assert!(expected.contains(&Err(Errno::INVAL)));
}

fn a_file_opened_with_noatime_keeps_its_time(mount: &TestMount) {
    for dir in [mount.path(), mount.plain()] {
        let path = dir.join("file");
        fs::write(&path, "0123").unwrap();
        let old = rustix::fs::Timespec {
            tv_sec: 1000,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: old,
            last_modification: old,
        };
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
        let file = open(&path, OFlags::RDONLY | OFlags::NOATIME);
        assert_eq!(pread(&file, &mut [0; 4], 0), Ok(4));
        assert_eq!(
            fs::metadata(&path).unwrap().atime(),
            1000,
            "{}",
            dir.display()
        );
    }
}

for_every_variant!(
    on_mount,
    [
        appending_begins_and_ends_when_the_application_says,
        appends_above_and_below_do_not_meet,
        pages_mapped_from_an_appending_file_go_to_their_place,
        direct_io_begins_and_ends_when_the_application_says,
        direct_io_out_of_line_is_refused_as_below,
        a_file_opened_with_noatime_keeps_its_time,
    ]
);
