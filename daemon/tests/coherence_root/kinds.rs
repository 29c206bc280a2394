//! Each kind of change below, seen through the mount after everything concerned was cached.

use crate::common::{TestMount, wait_until};
use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

/// Looks through the mount, changes below, and looks again until it is what is below: with strict the
/// first look must be.
fn seen<T: PartialEq + Debug>(
    mount: &TestMount,
    what: &str,
    look: impl Fn(&Path) -> T,
    change: impl FnOnce(&Path),
) {
    let (above, below) = (mount.path(), mount.lower());
    // Twice: what the kernel caches is asked for once.
    assert_eq!(look(above), look(below), "{what}: before");
    assert_eq!(look(above), look(below), "{what}: before, cached");
    let before = look(below);
    change(below);
    assert_ne!(look(below), before, "{what}: the change is none");
    if mount.variant().is_cached() {
        wait_until(what, || look(above) == look(below));
    } else {
        assert_eq!(look(above), look(below), "{what}");
    }
}

/// Number, mode, size, links, owner; seconds and nanoseconds of both times.
type Facts = ([u64; 5], [i64; 4]);

/// What is known of a name; `None` if there is none.
fn facts(path: &Path) -> Option<Facts> {
    let meta = fs::symlink_metadata(path).ok()?;
    let numbers = [
        meta.ino(),
        meta.mode().into(),
        meta.size(),
        meta.nlink(),
        meta.uid().into(),
    ];
    let times = [
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ];
    Some((numbers, times))
}

fn names(path: &Path) -> Vec<std::ffi::OsString> {
    crate::common::tree::names(path)
}

fn writer(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

fn changes_of_attributes_are_seen(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "text").unwrap();
    fs::hard_link(mount.lower().join("file"), mount.lower().join("other")).unwrap();
    let file = |dir: &Path| facts(&dir.join("file"));
    seen(mount, "chmod", file, |dir| {
        fs::set_permissions(dir.join("file"), Permissions::from_mode(0o604)).unwrap();
    });
    seen(mount, "chown", file, |dir| {
        std::os::unix::fs::chown(dir.join("file"), Some(7), Some(8)).unwrap();
    });
    seen(mount, "utimes", file, |dir| {
        writer(&dir.join("file"))
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
    });
    seen(mount, "a change by another name", file, |dir| {
        fs::set_permissions(dir.join("other"), Permissions::from_mode(0o640)).unwrap();
    });
    seen(mount, "setxattr", file, |dir| {
        rustix::fs::setxattr(
            dir.join("file"),
            c"user.k",
            b"v",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
    });
    seen(mount, "removexattr", file, |dir| {
        rustix::fs::removexattr(dir.join("file"), c"user.k").unwrap();
    });
}

fn changes_of_data_are_seen(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "text").unwrap();
    let file = |dir: &Path| (facts(&dir.join("file")), fs::read(dir.join("file")).ok());
    let append = |dir: &Path| {
        let file = OpenOptions::new().append(true).open(dir.join("file"));
        file.unwrap().write_all(b"more").unwrap();
    };
    seen(mount, "append", file, append);
    seen(mount, "append again", file, append);
    seen(mount, "overwrite", file, |dir| {
        writer(&dir.join("file")).write_all_at(b"TEXT", 0).unwrap();
    });
    seen(mount, "truncate", file, |dir| {
        writer(&dir.join("file")).set_len(2).unwrap();
    });
    seen(mount, "extend", file, |dir| {
        writer(&dir.join("file")).set_len(10_000).unwrap();
    });
    seen(mount, "replace", file, |dir| {
        fs::write(dir.join("new"), "new").unwrap();
        fs::rename(dir.join("new"), dir.join("file")).unwrap();
    });
}

/// A file that is open on the mount while it is written below by a long chain of writes.
fn a_file_that_grows_is_seen_to(mount: &TestMount) {
    fs::write(mount.lower().join("log"), "").unwrap();
    let size = |dir: &Path| fs::metadata(dir.join("log")).unwrap().len();
    let open = File::open(mount.path().join("log")).unwrap();
    for round in 1..=30_usize {
        seen(mount, "growth", size, |dir| {
            let mut file = OpenOptions::new()
                .append(true)
                .open(dir.join("log"))
                .unwrap();
            file.write_all(&vec![1; 1000 * round]).unwrap();
        });
        let len = size(mount.lower());
        if mount.variant().is_cached() {
            wait_until("fstat", || open.metadata().unwrap().len() == len);
        } else {
            assert_eq!(open.metadata().unwrap().len(), len);
        }
    }
}

fn changes_of_names_are_seen(mount: &TestMount) {
    for dir in ["one", "two"] {
        fs::create_dir(mount.lower().join(dir)).unwrap();
    }
    let all = |dir: &Path| {
        let known = [
            "one", "two", "one/a", "one/b", "one/d", "one/s", "two/a", "two/l",
        ];
        let lists = [names(&dir.join("one")), names(&dir.join("two"))];
        (known.map(|name| facts(&dir.join(name))), lists)
    };
    seen(mount, "create", all, |dir| {
        fs::write(dir.join("one/a"), "a").unwrap()
    });
    seen(mount, "mkdir", all, |dir| {
        fs::create_dir(dir.join("one/d")).unwrap()
    });
    seen(mount, "symlink", all, |dir| {
        symlink("a", dir.join("one/s")).unwrap()
    });
    seen(mount, "link", all, |dir| {
        fs::hard_link(dir.join("one/a"), dir.join("two/l")).unwrap();
    });
    seen(mount, "rename", all, |dir| {
        fs::rename(dir.join("one/a"), dir.join("one/b")).unwrap();
    });
    seen(mount, "rename to another directory", all, |dir| {
        fs::rename(dir.join("one/b"), dir.join("two/a")).unwrap();
    });
    seen(mount, "rename over another link", all, |dir| {
        fs::write(dir.join("one/b"), "b").unwrap();
        fs::rename(dir.join("one/b"), dir.join("two/l")).unwrap();
    });
    seen(mount, "unlink", all, |dir| {
        fs::remove_file(dir.join("two/l")).unwrap()
    });
    seen(mount, "rmdir", all, |dir| {
        fs::remove_dir(dir.join("one/d")).unwrap()
    });
    seen(mount, "another link target", all, |dir| {
        fs::remove_file(dir.join("one/s")).unwrap();
        symlink("elsewhere", dir.join("one/s")).unwrap();
    });
    seen(mount, "a directory in a file's place", all, |dir| {
        fs::remove_file(dir.join("two/a")).unwrap();
        fs::create_dir(dir.join("two/a")).unwrap();
    });
    seen(mount, "rename of a directory", all, |dir| {
        fs::rename(dir.join("two"), dir.join("three")).unwrap();
        fs::create_dir(dir.join("two")).unwrap();
    });
}

fn targets_of_links_are_seen(mount: &TestMount) {
    symlink("first", mount.lower().join("link")).unwrap();
    let target = |dir: &Path| fs::read_link(dir.join("link")).unwrap();
    seen(mount, "a link made anew", target, |dir| {
        symlink("second", dir.join("new")).unwrap();
        fs::rename(dir.join("new"), dir.join("link")).unwrap();
    });
}

fn values_of_attributes_are_seen(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "").unwrap();
    let value = |dir: &Path| {
        let mut value = [0; 16];
        let len = rustix::fs::getxattr(dir.join("file"), c"user.k", &mut value[..]);
        len.map(|len| value[..len].to_vec()).ok()
    };
    for round in 0..5 {
        seen(mount, "setxattr", value, |dir| {
            let value = format!("{round}");
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(dir.join("file"), c"user.k", value.as_bytes(), flags).unwrap();
        });
    }
    seen(mount, "removexattr", value, |dir| {
        rustix::fs::removexattr(dir.join("file"), c"user.k").unwrap();
    });
}

/// What fails on the mount because the lower directory changed a moment before leaves nothing wrong.
fn failures_leave_no_wrong_names(mount: &TestMount) {
    let (above, below) = (mount.path(), mount.lower());
    for round in 0..50 {
        let name = format!("n{round}");
        assert!(!above.join(&name).exists());
        fs::write(below.join(&name), "below").unwrap();
        // Either it is seen, or the attempt says so; after that it must be.
        let made = fs::create_dir(above.join(&name));
        assert!(made.is_err());
        wait_until("the name", || above.join(&name).is_file());
        fs::remove_file(below.join(&name)).unwrap();
        let _ = fs::remove_file(above.join(&name));
        wait_until("no name", || !above.join(&name).exists());
    }
}

for_strict_and_coherent!(
    on_mount,
    [
        changes_of_attributes_are_seen,
        changes_of_data_are_seen,
        a_file_that_grows_is_seen_to,
        changes_of_names_are_seen,
        targets_of_links_are_seen,
        values_of_attributes_are_seen,
        failures_leave_no_wrong_names,
    ]
);
