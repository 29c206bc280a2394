//! What a write costs in requests.

use super::trace::RequestTrace;
use crate::common::TestMount;
use std::{collections::BTreeMap, fs::OpenOptions, io::Write, os::unix::fs::FileExt};

const WRITES: u64 = 1000;

fn requests_of_writes(mount: &TestMount, size: usize) -> BTreeMap<String, u64> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(mount.path().join("file"))
        .unwrap();
    // A whole page: a write that begins inside one is sent in two (`fuse_fill_write_pages`,
    // fs/fuse/file.c).
    file.write_all(&[1; 4096]).unwrap();
    let trace = RequestTrace::start(mount.connection());
    for _ in 0..WRITES {
        file.write_all(&vec![1; size]).unwrap();
    }
    let counts = trace.stop();
    eprintln!("{counts:?}");
    counts
}

/// Without FUSE_HANDLE_KILLPRIV_V2 the kernel asks for `security.capability` before every write.
fn a_buffered_write_sends_no_getxattr(mount: &TestMount) {
    let counts = requests_of_writes(mount, 4096);
    assert_eq!(counts.get("FUSE_GETXATTR"), None, "{counts:?}");
    let writes = counts.get("FUSE_WRITE").copied().unwrap_or_default();
    let expected = if mount.variant().is_passthrough() {
        0
    } else {
        WRITES
    };
    assert_eq!(writes, expected, "{counts:?}");
}

fn a_passed_through_read_sends_no_request(mount: &TestMount) {
    let path = mount.path().join("file");
    std::fs::write(&path, vec![1; 1 << 20]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let trace = RequestTrace::start(mount.connection());
    let mut buffer = vec![0; 4096];
    for offset in (0..1 << 20).step_by(4096) {
        file.read_exact_at(&mut buffer, offset).unwrap();
    }
    let counts = trace.stop();
    let reads = counts.get("FUSE_READ").copied().unwrap_or_default();
    if mount.variant().is_passthrough() {
        assert_eq!(reads, 0, "{counts:?}");
    } else {
        assert!(reads > 0 && reads <= 256, "{counts:?}");
    }
}

for_every_daemon_variant!(
    on_mount,
    [
        a_buffered_write_sends_no_getxattr,
        a_passed_through_read_sends_no_request
    ]
);
