//! Names of every length and of any bytes.

use crate::common::{TestMount, tree};
use std::{collections::BTreeSet, ffi::OsString, fs, io};

fn names_of_any_bytes_and_up_to_255_of_them_work(mount: &TestMount) {
    let mut names: BTreeSet<OsString> = (1..=255_u8)
        .filter(|&byte| byte != b'/' && byte != b'.')
        .map(|byte| tree::name(&[byte]))
        .collect();
    names.extend([1, 2, 100, 254, 255].map(|len| tree::name(&vec![b'n'; len])));
    names.insert(tree::name(&[0xff; 255]));
    names.insert(tree::name(b"..."));
    for name in &names {
        let path = mount.path().join(name);
        fs::write(&path, name.as_encoded_bytes()).unwrap();
        assert_eq!(
            fs::read(mount.lower().join(name)).unwrap(),
            name.as_encoded_bytes()
        );
        let moved = mount.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    let listed: BTreeSet<_> = tree::names(mount.path()).into_iter().collect();
    assert_eq!(listed, names);
    for name in &names {
        fs::remove_file(mount.path().join(name)).unwrap();
    }
    assert_eq!(tree::names(mount.lower()), [""; 0]);
}

fn a_name_of_256_bytes_is_too_long_everywhere(mount: &TestMount) {
    let long = mount.path().join("n".repeat(256));
    fs::write(mount.path().join("file"), "").unwrap();
    let too_long = |result: io::Result<()>| {
        assert_eq!(
            result.unwrap_err().raw_os_error(),
            Some(nix::libc::ENAMETOOLONG)
        );
    };
    too_long(fs::write(&long, ""));
    too_long(fs::create_dir(&long));
    too_long(fs::metadata(&long).map(drop));
    too_long(fs::rename(mount.path().join("file"), &long));
    too_long(fs::hard_link(mount.path().join("file"), &long));
    too_long(std::os::unix::fs::symlink("target", &long));
}

fn links_with_targets_of_any_length_read_back(mount: &TestMount) {
    for len in [1, 59, 60, 255, 1000, 4094, 4095] {
        let target = "t".repeat(len);
        let link = mount.path().join(format!("link{len}"));
        // ext4 with blocks of 4 KiB takes up to 4095 bytes.
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap().as_os_str().len(), len);
        assert_eq!(fs::symlink_metadata(&link).unwrap().len(), len as u64);
    }
}

mod mounted {
    use super::*;
    for_every_transport!(
        on_mount,
        [
            names_of_any_bytes_and_up_to_255_of_them_work,
            a_name_of_256_bytes_is_too_long_everywhere,
            links_with_targets_of_any_length_read_back,
        ]
    );
}

variant_tests!(
    native,
    Variant::Native,
    on_mount,
    [
        names_of_any_bytes_and_up_to_255_of_them_work,
        a_name_of_256_bytes_is_too_long_everywhere,
        links_with_targets_of_any_length_read_back,
    ]
);
