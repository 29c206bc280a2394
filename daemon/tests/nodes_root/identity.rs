//! Which file is which: hard links, deleted files, reused numbers.

use crate::common::{TestMount, bash};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Seek, SeekFrom, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, PermissionsExt},
    },
};

fn hard_links_are_one_inode(mount: &TestMount) {
    let dir = mount.path();
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("one"), "first").unwrap();
    fs::hard_link(dir.join("one"), dir.join("sub/two")).unwrap();
    let [one, two] = ["one", "sub/two"].map(|name| fs::metadata(dir.join(name)).unwrap());
    assert_eq!(
        (one.ino(), one.dev(), one.nlink()),
        (two.ino(), two.dev(), 2)
    );

    let mut through_one = OpenOptions::new()
        .append(true)
        .open(dir.join("one"))
        .unwrap();
    let mut through_two = File::open(dir.join("sub/two")).unwrap();
    let mut content = String::new();
    through_two.read_to_string(&mut content).unwrap();
    through_one.write_all(b" second").unwrap();
    through_two.read_to_string(&mut content).unwrap();
    assert_eq!(content, "first second");
    fs::set_permissions(dir.join("one"), Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        fs::metadata(dir.join("sub/two")).unwrap().mode() & 0o777,
        0o640
    );
    fs::remove_file(dir.join("one")).unwrap();
    assert_eq!(fs::metadata(dir.join("sub/two")).unwrap().nlink(), 1);
    assert_eq!(through_one.metadata().unwrap().nlink(), 1);
}

fn links_made_below_are_one_inode(mount: &TestMount) {
    bash(mount.lower(), "mkdir a b; echo x >a/x; ln a/x b/y");
    let [one, two] = ["a/x", "b/y"].map(|name| fs::metadata(mount.path().join(name)).unwrap());
    assert_eq!(one.ino(), two.ino());
}

fn a_deleted_file_lives_while_it_is_open(mount: &TestMount) {
    let path = mount.path().join("file");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(&[1; 10_000]).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(!mount.lower().join("file").exists());
    let meta = file.metadata().unwrap();
    assert_eq!((meta.nlink(), meta.len()), (0, 10_000));
    file.write_all(&[2; 10_000]).unwrap();
    file.set_len(15_000).unwrap();
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    file.sync_all().unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!((meta.len(), meta.mode() & 0o7777), (15_000, 0o600));

    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let mut byte = [0];
    again.read_exact_at(&mut byte, 14_999).unwrap();
    assert_eq!(byte, [2]);

    fs::write(&path, "another").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [1]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "another");
}

fn a_deleted_directory_lives_while_it_is_open(mount: &TestMount) {
    let path = mount.path().join("dir");
    fs::create_dir(&path).unwrap();
    let dir = File::open(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    assert!(dir.metadata().unwrap().is_dir());
    let error = rustix::fs::mkdirat(&dir, "sub", rustix::fs::Mode::RWXU).unwrap_err();
    assert_eq!(error, rustix::io::Errno::NOENT);
    assert_eq!(
        rustix::fs::Dir::read_from(&dir)
            .unwrap()
            .filter(Result::is_ok)
            .count(),
        0
    );
}

/// ext4 gives a new file the number of one just deleted. The file that still is open, or known to
/// the kernel, must not be taken for the new one.
fn a_reused_inode_number_is_another_file(mount: &TestMount) {
    let mut reused = 0;
    let mut last = None;
    for round in 0..200_u32 {
        let name = format!("file{round}");
        fs::write(mount.path().join(&name), format!("round {round}")).unwrap();
        let meta = fs::metadata(mount.path().join(&name)).unwrap();
        assert_eq!(meta.len(), format!("round {round}").len() as u64);
        if last == Some(meta.ino()) {
            reused += 1;
        }
        last = Some(meta.ino());
        let held = File::open(mount.path().join(&name)).unwrap();
        // Deleted and made anew behind the mount's back, as another kind of file every time.
        fs::remove_file(mount.lower().join(&name)).unwrap();
        match round % 3 {
            0 => fs::write(mount.lower().join(&name), "a file").unwrap(),
            1 => fs::create_dir(mount.lower().join(&name)).unwrap(),
            _ => std::os::unix::fs::symlink("target", mount.lower().join(&name)).unwrap(),
        }
        assert_eq!(
            std::io::read_to_string(&held).unwrap(),
            format!("round {round}")
        );
        drop(held);
        let [seen, below] =
            [mount.path(), mount.lower()].map(|dir| fs::symlink_metadata(dir.join(&name)).unwrap());
        assert_eq!(seen.file_type(), below.file_type(), "{name}");
        assert_eq!(seen.len(), below.len(), "{name}");
        if round % 3 == 0 {
            assert_eq!(
                fs::read_to_string(mount.path().join(&name)).unwrap(),
                "a file"
            );
        }
        bash(mount.lower(), &format!("rm -r {name}"));
    }
    eprintln!("{reused} of 200 numbers were reused at once");
}

for_every_daemon_variant!(
    on_mount,
    [
        hard_links_are_one_inode,
        links_made_below_are_one_inode,
        a_deleted_file_lives_while_it_is_open,
        a_deleted_directory_lives_while_it_is_open,
        a_reused_inode_number_is_another_file,
    ]
);

variant_tests!(
    native,
    Variant::Native,
    on_mount,
    [
        hard_links_are_one_inode,
        links_made_below_are_one_inode,
        a_deleted_file_lives_while_it_is_open,
        a_deleted_directory_lives_while_it_is_open,
        a_reused_inode_number_is_another_file,
    ]
);
