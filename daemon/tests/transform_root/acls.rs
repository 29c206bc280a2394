//! POSIX ACLs name users and groups, and go beyond the mode: they are shown as it is.

use super::shown::{BOX, own, replace};
use crate::common::{
    TestMount, bash,
    identity::{Who, acting},
};
use rustix::{
    fs::{XattrFlags, getxattr, setxattr},
    io::Errno,
};
use std::{fs::File, path::Path};

const NAME: &str = "system.posix_acl_access";
const NOBODY: u32 = u32::MAX;

/// An access ACL: user::rw-, user:UID:rw-, group::r--, group:GID:r--, mask::MASK, other::OTHER.
fn acl(uid: u32, gid: u32, mask: u16, other: u16) -> Vec<u8> {
    crate::common::acl(&[
        (1, 6, NOBODY),
        (2, 6, uid),
        (4, 4, NOBODY),
        (8, 4, gid),
        (16, mask, NOBODY),
        (32, other, NOBODY),
    ])
}

fn get(path: &Path) -> Vec<u8> {
    let mut value = vec![0; 1024];
    let len = getxattr(path, NAME, value.as_mut_slice()).expect("an ACL");
    value.truncate(len);
    value
}

fn set(path: &Path, acl: &[u8]) -> Result<(), Errno> {
    setxattr(path, NAME, acl, XattrFlags::empty())
}

fn an_acl_is_mapped_and_hides_what_the_mode_hides(mount: &TestMount) {
    bash(mount.lower(), "touch file");
    let (file, lower) = (mount.path().join("file"), mount.lower().join("file"));
    own(&lower, 100_000, 100_000);
    set(&lower, &acl(101_000, 102_000, 6, 4)).expect("an ACL below");
    let writes = |who| acting(who, 0, || File::options().append(true).open(&file).is_ok());
    assert!(!writes(Who::Member), "it is another user's below");
    let mapped = BOX.replace("hide", "# hide");
    replace(mount, &mapped);
    for _ in 0..3 {
        assert_eq!(get(&file), acl(1000, 2000, 6, 4));
    }
    assert!(writes(Who::Member) && !writes(Who::Stranger));
    replace(mount, &BOX.replace("077", "066"));
    assert_eq!(get(&file), acl(1000, 2000, 0, 0));
    assert!(!writes(Who::Member), "the mask is hidden");
    // Set by way of the mount: mapped, and what is hidden stays.
    set(&file, &acl(7, 8, 7, 0)).expect("an ACL by way of the mount");
    assert_eq!(get(&lower), acl(100_007, 100_008, 7, 4));
    assert_eq!(set(&file, &acl(100_007, 8, 7, 0)), Err(Errno::OVERFLOW));
    replace(mount, "");
    assert_eq!(get(&file), acl(100_007, 100_008, 7, 4));
}

variant_tests!(
    classic_coherent,
    Variant::CLASSIC_COPY.coherent(),
    on_mount,
    [an_acl_is_mapped_and_hides_what_the_mode_hides]
);
variant_tests!(
    shm_strict,
    Variant::SHM_COPY,
    on_mount,
    [an_acl_is_mapped_and_hides_what_the_mode_hides]
);
