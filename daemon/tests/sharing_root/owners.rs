//! Several users create files at once: each file belongs to who made it.

use crate::common::{
    TestMount, bash,
    identity::{Who, acting, own_umask},
    scale,
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat};
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::Path, thread};

/// Files of each kind that each of six threads makes in each of three directories, at scale 1.
const FILES: u64 = 20;

/// One user makes files of every kind under a umask of its own.
fn make_files(dir: &Path, who: Who, umask: u32) {
    own_umask();
    for number in 0..FILES * scale::factor().min(5) {
        let path = |kind: &str| dir.join(format!("{kind}-{who:?}-{umask:o}-{number}"));
        acting(who, umask, || {
            let all = Mode::from_raw_mode(0o777);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            openat(CWD, path("file"), flags, all).unwrap();
            mkdirat(CWD, path("dir"), all).unwrap();
            symlinkat("target", CWD, path("link")).unwrap();
            mknodat(CWD, path("fifo"), FileType::Fifo, all, 0).unwrap();
            let tmp = openat(CWD, dir, OFlags::TMPFILE | OFlags::WRONLY, all).unwrap();
            let named = path("tmpfile");
            rustix::fs::linkat(tmp, c"", CWD, &named, AtFlags::EMPTY_PATH).unwrap();
        });
    }
}

/// Owner, group and mode by kind, user and umask: the same for all the files of a kind.
fn seen(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let (what, _number) = name.rsplit_once('-').unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            format!("{what} {}:{} {:o}", meta.uid(), meta.gid(), meta.mode())
        })
        .collect()
}

fn files_made_at_once_belong_to_their_makers(mount: &TestMount) {
    for (name, prepare) in [
        ("plain", "chmod 777 plain"),
        ("setgid", "chgrp 2000 setgid; chmod 2777 setgid"),
        (
            "acl",
            "chmod 777 acl; setfacl -d -m u:1000:rw,g:2000:r,m::rwx acl",
        ),
    ] {
        for dir in [mount.path(), mount.plain()] {
            bash(dir, &format!("mkdir {name}; {prepare}"));
            let dir = &dir.join(name);
            thread::scope(|scope| {
                for who in [Who::Root, Who::Member, Who::Stranger] {
                    for umask in [0, 0o027] {
                        scope.spawn(move || make_files(dir, who, umask));
                    }
                }
            });
        }
        let [on_mount, on_plain, below] =
            [mount.path(), mount.plain(), mount.lower()].map(|dir| seen(&dir.join(name)));
        assert_eq!(on_mount, on_plain, "{name}");
        assert_eq!(on_mount, below, "{name}");
        assert_eq!(
            on_mount.len(),
            30,
            "{name}: five kinds of three users under two umasks"
        );
    }
}

mod mounted {
    use super::*;
    for_every_transport!(on_mount, [files_made_at_once_belong_to_their_makers]);
}

variant_tests!(
    native,
    Variant::Native,
    on_mount,
    [files_made_at_once_belong_to_their_makers]
);
