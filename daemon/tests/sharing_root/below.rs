//! The lower directory changes behind the mount: with `--cache strict` the next system call on
//! the mount sees it.

use crate::common::{TestMount, Tree, assert_same, bash, tree, wait_until};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
};

fn names_changed_below_are_seen_at_once(mount: &TestMount) {
    let (above, below) = (mount.path(), mount.lower());
    fs::create_dir(below.join("dir")).unwrap();
    for round in 0..20 {
        let name = format!("dir/file{round}");
        assert!(!above.join(&name).exists());
        fs::write(below.join(&name), format!("{round}")).unwrap();
        assert_eq!(
            fs::read_to_string(above.join(&name)).unwrap(),
            format!("{round}")
        );
        fs::rename(below.join(&name), below.join("dir/moved")).unwrap();
        assert!(!above.join(&name).exists());
        assert_eq!(
            fs::read_to_string(above.join("dir/moved")).unwrap(),
            format!("{round}")
        );
        fs::rename(below.join("dir"), below.join("other")).unwrap();
        assert_eq!(tree::names(above), ["other"]);
        fs::rename(below.join("other"), below.join("dir")).unwrap();
        fs::remove_file(below.join("dir/moved")).unwrap();
        assert!(!above.join("dir/moved").exists());
        assert_eq!(tree::names(&above.join("dir")), [""; 0]);
        fs::create_dir(below.join("dir/moved")).unwrap();
        assert!(above.join("dir/moved").is_dir());
        fs::remove_dir(below.join("dir/moved")).unwrap();
    }
}

fn attributes_changed_below_are_seen_at_once(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    fs::write(&below, "text").unwrap();
    for round in 0..20_u32 {
        fs::set_permissions(&below, Permissions::from_mode(0o600 + round)).unwrap();
        assert_eq!(fs::metadata(&above).unwrap().mode() & 0o7777, 0o600 + round);
        std::os::unix::fs::chown(&below, Some(round), Some(round)).unwrap();
        let meta = fs::metadata(&above).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (round, round));
        File::options()
            .write(true)
            .open(&below)
            .unwrap()
            .set_len(round.into())
            .unwrap();
        assert_eq!(fs::metadata(&above).unwrap().len(), u64::from(round));
        fs::hard_link(&below, below.with_extension(round.to_string())).unwrap();
        assert_eq!(fs::metadata(&above).unwrap().nlink(), u64::from(round) + 2);
        bash(
            mount.lower(),
            &format!("setfattr -n user.k -v {round} file"),
        );
        let seen = tree::xattrs(&above).unwrap();
        assert_eq!(seen[c"user.k"], round.to_string().into_bytes());
    }
}

fn content_changed_below_is_seen_by_the_next_open(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    for round in 0..40_u8 {
        let content = vec![round; 10_000 + 4096 * usize::from(round % 3)];
        if round % 2 == 0 {
            fs::write(&below, &content).unwrap();
        } else {
            let file = OpenOptions::new().write(true).open(&below).unwrap();
            file.write_all_at(&content, 0).unwrap();
            file.set_len(content.len() as u64).unwrap();
        }
        assert!(fs::read(&above).unwrap() == content, "round {round}");
    }
}

fn content_appended_below_is_seen_by_who_has_the_file_open(mount: &TestMount) {
    let below = mount.lower().join("log");
    fs::write(&below, "").unwrap();
    let reader = File::open(mount.path().join("log")).unwrap();
    let mut writer = OpenOptions::new().append(true).open(&below).unwrap();
    let mut written = Vec::new();
    for round in 0..50 {
        let line = format!("line {round}\n").repeat(100);
        writer.write_all(line.as_bytes()).unwrap();
        written.extend_from_slice(line.as_bytes());
        assert_eq!(reader.metadata().unwrap().len(), written.len() as u64);
        let mut content = vec![0; written.len()];
        reader.read_exact_at(&mut content, 0).unwrap();
        assert!(content == written, "round {round}");
    }
}

/// With `--cache ttl=1` it takes up to a second, and not more.
fn changes_below_are_seen_in_time(mount: &TestMount) {
    let (above, below) = (mount.path(), mount.lower());
    bash(below, "mkdir dir; echo one >dir/file; chmod 600 dir/file");
    Tree::of(above);
    bash(
        below,
        "mv dir/file dir/new; echo longer >dir/new; chmod 640 dir/new; touch dir/more",
    );
    wait_until("the mount shows what is below", || {
        tree::names(&above.join("dir")) == tree::names(&below.join("dir"))
            && fs::metadata(above.join("dir/new")).is_ok_and(|meta| meta.mode() & 0o777 == 0o640)
            && !above.join("dir/file").exists()
    });
    assert_eq!(
        fs::read_to_string(above.join("dir/new")).unwrap(),
        "longer\n"
    );
    assert_same("above and below", &Tree::of(above), &Tree::of(below));
}

mod strict {
    use super::*;
    for_every_daemon_variant!(
        on_mount,
        [
            names_changed_below_are_seen_at_once,
            attributes_changed_below_are_seen_at_once,
            content_changed_below_is_seen_by_the_next_open,
            content_appended_below_is_seen_by_who_has_the_file_open,
        ]
    );
}

for_every_variant!(on_mount, [changes_below_are_seen_in_time]);
