//! Whole trees, with everything a tree can hold: tar and rsync.

use crate::common::{TestMount, Tree, assert_same, bash};
use std::{fs, path::Path};

/// A tree with all types of files, modes, owners, times, links, attributes and lists of access.
fn make_tree(dir: &Path) {
    fs::create_dir(dir).unwrap();
    bash(
        dir,
        r#"
        mkdir -p a/b/c setgid sticky empty
        for i in $(seq 100); do echo "file $i" >a/b/file$i; done
        head -c 300000 /dev/urandom >a/noise
        : >a/zero
        ln a/noise a/b/hard; ln a/noise hard2
        ln -s a/noise soft; ln -s nowhere dangling; ln -s "$(printf 'x%.0s' $(seq 900))" long
        mkfifo fifo; mknod null c 1 3; mknod disk b 7 200
        chmod 4755 a/b/file1; chmod 2711 a/b/file2; chmod 0000 a/b/file3; chmod 1777 sticky
        chgrp 1234 setgid; chmod 2775 setgid
        chown 1000:1001 a/b/file4; chown -h 1002:1003 soft
        truncate -s 10M a/sparse; printf x | dd of=a/sparse bs=1 seek=5000000 conv=notrunc status=none
        setfattr -n user.color -v blue a/b/file5
        setfattr -n user.empty a/b/file5
        setfattr -n trusted.secret -v $'a\nb' a/b/file6
        setfattr -n user.dir -v d a
        setfacl -m u:1000:rw,g:1001:r a/b/file7
        setfacl -d -m u:1000:rwx a/b/c; setfacl -m u:1000:rx a/b/c
        setcap cap_net_raw+ep a/b/file8
        touch -d '1969-07-20 20:17:40.123456789' a/b/file9
        touch -d '2038-01-19 03:14:08.000000001' a/b/file10
        touch -h -d '2001-01-01 00:00:00.5' dangling
        touch "name with spaces" $'new\nline' $'\xff\xfe' "$(printf 'n%.0s' $(seq 255))"
        find . -newermt 2020-01-01 ! -newermt 2030-01-01 -exec touch -h -d '2010-10-10 10:10:10.1' {} +
        "#,
    );
}

const TAR: &str = "tar --xattrs --xattrs-include='*' --acls --format=posix --numeric-owner \
                   --sort=name --pax-option=exthdr.name=%d/x/%f,delete=atime,delete=ctime";

fn tar_extracts_and_creates_the_same(mount: &TestMount) {
    let source = mount.scratch().join("source");
    make_tree(&source);
    bash(
        mount.scratch(),
        &format!("{TAR} --sparse -C source -cf archive ."),
    );
    for dir in [mount.path(), mount.plain()] {
        bash(
            dir,
            &format!(
                "mkdir tree; {TAR} -C tree -xpf {}/archive",
                mount.scratch().display()
            ),
        );
    }
    let source = Tree::with_times(&source);
    for dir in [mount.plain(), mount.path(), mount.lower()] {
        let what = format!("extracted in {} and the source", dir.display());
        assert_same(&what, &Tree::with_times(&dir.join("tree")), &source);
    }
    for (dir, archive) in [(mount.path(), "of-mount"), (mount.plain(), "of-plain")] {
        bash(
            mount.scratch(),
            &format!("{TAR} -C {}/tree -cf {archive} .", dir.display()),
        );
    }
    bash(mount.scratch(), "cmp of-mount of-plain");
}

fn a_second_rsync_transfers_nothing(mount: &TestMount) {
    let source = mount.scratch().join("source");
    make_tree(&source);
    let rsync = format!("rsync -aHAX --itemize-changes {}/", source.display());
    let first = bash(mount.path(), &format!("{rsync} tree/"));
    assert!(first.lines().count() > 100, "{first}");
    assert_eq!(bash(mount.path(), &format!("{rsync} tree/")), "");
    let checked = bash(mount.path(), &format!("{rsync} --checksum tree/"));
    assert_eq!(checked, "", "by checksums");
    let source = Tree::with_times(&source);
    assert_same(
        "on the mount",
        &Tree::with_times(&mount.path().join("tree")),
        &source,
    );
    assert_same(
        "below",
        &Tree::with_times(&mount.lower().join("tree")),
        &source,
    );
}

fn cp_mv_and_rm_of_a_tree_leave_what_they_should(mount: &TestMount) {
    let source = mount.scratch().join("source");
    make_tree(&source);
    let source_path = source.display();
    for dir in [mount.path(), mount.plain()] {
        bash(
            dir,
            &format!("cp -a {source_path} one; cp -a one two; mv two three; rm -r one"),
        );
        assert_eq!(crate::common::tree::names(dir), ["three"]);
    }
    let [on_mount, on_plain, below] = [mount.path(), mount.plain(), mount.lower()]
        .map(|dir| Tree::with_times(&dir.join("three")));
    assert_same(
        "on the mount and on a plain directory",
        &on_mount,
        &on_plain,
    );
    assert_same("on the mount and below it", &on_mount, &below);
    bash(mount.path(), "rm -r three");
    assert_eq!(crate::common::tree::names(mount.lower()), [""; 0]);
}

for_every_variant_and_writeback!(
    on_mount,
    [
        tar_extracts_and_creates_the_same,
        a_second_rsync_transfers_nothing,
        cp_mv_and_rm_of_a_tree_leave_what_they_should,
    ]
);
