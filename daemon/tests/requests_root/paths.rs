//! What a long path costs.

use super::trace::RequestTrace;
use crate::common::TestMount;
use std::fs;

/// With nothing believed each name on the way is looked up, and the directory it is in asked for its permissions:
/// `lookup_fast` with `fuse_dentry_revalidate`, `may_lookup` with `fuse_permission` (fs/namei.c, fs/fuse/dir.c).
/// What takes more than that on a deep tree asks for more: a shell that checks each directory of its
/// path again at each `cd` makes requests as the cube of the depth.
fn each_name_of_a_path_is_two_requests_at_any_depth(mount: &TestMount) {
    let path = |depth| mount.path().join("d/".repeat(depth)).join("file");
    fs::create_dir_all(mount.lower().join("d/".repeat(160))).unwrap();
    let requests = |depth: usize| -> u64 {
        fs::write(mount.lower().join("d/".repeat(depth)).join("file"), "").unwrap();
        fs::metadata(path(depth)).unwrap();
        let trace = RequestTrace::start(mount.connection());
        fs::metadata(path(depth)).unwrap();
        trace.stop().values().sum()
    };
    let counts = [10, 20, 40, 80, 160].map(requests);
    let expected = [0, 20, 60, 140, 300].map(|more| counts[0] + more);
    assert_eq!(counts, expected);
}

variant_tests!(
    classic_copy_strict,
    Variant::CLASSIC_COPY,
    on_mount,
    [each_name_of_a_path_is_two_requests_at_any_depth]
);
variant_tests!(
    shm_copy_strict,
    Variant::SHM_COPY,
    on_mount,
    [each_name_of_a_path_is_two_requests_at_any_depth]
);
