//! Files without a name: made so, or unlinked while they are open.

use crate::common::{
    TestMount,
    identity::{Who, acting, own_umask},
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fstat, linkat, openat},
    io::{Errno, pread, pwrite},
};
use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

fn a_file_made_without_a_name_can_be_given_one(mount: &TestMount) {
    own_umask();
    fs::set_permissions(
        mount.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let file = acting(Who::Member, 0o027, || {
        openat(
            CWD,
            mount.path(),
            OFlags::TMPFILE | OFlags::RDWR,
            Mode::from_raw_mode(0o666),
        )
    })
    .unwrap();
    pwrite(&file, b"content", 0).unwrap();
    let stat = fstat(&file).unwrap();
    let found = (stat.st_nlink, stat.st_mode, stat.st_uid, stat.st_gid);
    assert_eq!(found, (0, 0o100_640, 1000, 1000));
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = mount.path().join("named");
    linkat(CWD, link, CWD, &path, AtFlags::SYMLINK_FOLLOW).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"content");
    assert_eq!(fs::metadata(&path).unwrap().ino(), stat.st_ino);
    assert_eq!(fs::read(mount.lower().join("named")).unwrap(), b"content");
}

fn a_file_that_is_never_to_have_a_name_gets_none(mount: &TestMount) {
    for dir in [mount.path(), mount.plain()] {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL;
        let file = openat(CWD, dir, flags, Mode::from_raw_mode(0o600)).unwrap();
        pwrite(&file, b"content", 0).unwrap();
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let linked = linkat(CWD, link, CWD, dir.join("named"), AtFlags::SYMLINK_FOLLOW);
        assert_eq!(linked, Err(Errno::NOENT), "{}", dir.display());
    }
}

fn an_unlinked_file_can_be_used_and_opened_again(mount: &TestMount) {
    let path = mount.path().join("file");
    fs::write(&path, "still here").unwrap();
    let file = openat(CWD, &path, OFlags::RDWR, Mode::empty()).unwrap();
    fs::remove_file(&path).unwrap();
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = openat(CWD, &link, OFlags::RDWR, Mode::empty()).unwrap();
    pwrite(&again, b"STILL", 0).unwrap();
    let mut bytes = [0; 10];
    pread(&file, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"STILL here");
    rustix::fs::ftruncate(&file, 5).unwrap();
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).unwrap();
    let stat = fstat(&again).unwrap();
    assert_eq!(
        (stat.st_nlink, stat.st_size, stat.st_mode),
        (0, 5, 0o100_600)
    );
    assert_eq!(fs::read_dir(mount.lower()).unwrap().count(), 0);
}

for_every_variant!(
    on_mount,
    [
        a_file_made_without_a_name_can_be_given_one,
        a_file_that_is_never_to_have_a_name_gets_none,
        an_unlinked_file_can_be_used_and_opened_again,
    ]
);
