//! Rules on requests: which they are about, and what comes of it.

use super::rules::{command, met, refusal, replace};
use crate::common::{TestMount, Variant, identity, identity::Who, shell};
use rustix::io::Errno;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

const fn raw(errno: Errno) -> Option<i32> {
    Some(errno.raw_os_error())
}

fn the_first_rule_that_a_request_meets_decides(variant: Variant) {
    let mount = TestMount::new(variant);
    fs::write(mount.lower().join("file"), [7; 100_000]).unwrap();
    let path = |name: &str| mount.path().join(name);
    replace(
        &mount,
        "[[rule]]\nname = 'all'\naction = 'count'\n\
         [[rule]]\nname = 'root makes x'\naction = 'allow'\nuid = 0\nrequests = 'MKDIR'\n\
         [[rule]]\nname = 'no mkdir'\naction = 'deny'\nrequests = ['MKDIR']\nerrno = 'EDQUOT'\n\
         [[rule]]\nname = 'nor unlink'\naction = 'deny'\nrequests = ['UNLINK', 'RMDIR']\nerrno = 'EPERM'\n",
    );
    fs::create_dir(path("by root")).unwrap();
    fs::set_permissions(mount.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let by_member = identity::acting(Who::Member, 0, || fs::create_dir(path("by member")));
    assert_eq!(errno(by_member), raw(Errno::DQUOT));
    assert_eq!(errno(fs::remove_file(path("file"))), raw(Errno::PERM));
    assert_eq!(errno(fs::remove_dir(path("by root"))), raw(Errno::PERM));
    assert_eq!(fs::read(path("file")).unwrap(), [7; 100_000]);
    assert_eq!(met(&mount, "root makes x"), (1, 0));
    assert_eq!(met(&mount, "no mkdir"), (1, 0));
    assert_eq!(met(&mount, "nor unlink"), (2, 0));
    assert!(met(&mount, "all").0 > 5);

    // What is wrong changes nothing, and says where it is.
    let file = mount.scratch().join("bad.toml");
    for (text, says) in [
        (
            "[[rule]]\nname = 'x'\naction = 'deny'\nuid = 'me'\n",
            "bad.toml:4: rule 'x', uid: ",
        ),
        (
            "[[rule]]\nname = 'x'\naction = 'deny'\nsubtree = 'nowhere'\n",
            "nowhere: No such file",
        ),
    ] {
        fs::write(&file, text).unwrap();
        for how in ["add", "replace"] {
            let said = refusal(&mut command(&mount, &[how, file.to_str().unwrap()]));
            assert!(said.contains(says), "{said}");
        }
        assert_eq!(met(&mount, "nor unlink"), (2, 0));
    }
    shell::run(&mut command(&mount, &["del", "nor unlink"]));
    fs::remove_dir(path("by root")).unwrap();
    // The others are counted on.
    assert_eq!(met(&mount, "no mkdir"), (1, 0));
    replace(&mount, "");
    fs::remove_file(path("file")).unwrap();
    mount.finish();
}

fn a_subtree_is_where_it_is_whoever_moves_what(variant: Variant) {
    let mount = TestMount::new(variant);
    let path = |name: &str| mount.path().join(name);
    for dir in ["a/b/c", "other"] {
        fs::create_dir_all(mount.lower().join(dir)).unwrap();
    }
    fs::write(mount.lower().join("a/b/c/file"), "x").unwrap();
    replace(
        &mount,
        "[[rule]]\nname = 'ro'\naction = 'deny'\nerrno = 'EROFS'\nrequests = ['changes']\nsubtree = '/a/b'\n",
    );
    let readonly = raw(Errno::ROFS);
    assert_eq!(errno(fs::write(path("a/b/new"), "")), readonly);
    assert_eq!(errno(fs::write(path("a/b/c/file"), "y")), readonly);
    assert_eq!(errno(fs::create_dir(path("a/b/c/d"))), readonly);
    assert_eq!(errno(fs::remove_file(path("a/b/c/file"))), readonly);
    fs::write(path("outside"), "x").unwrap();
    assert_eq!(
        errno(fs::rename(path("outside"), path("a/b/inside"))),
        readonly
    );
    assert_eq!(
        errno(fs::hard_link(path("a/b/c/file"), path("link"))),
        readonly
    );
    assert_eq!(fs::read_to_string(path("a/b/c/file")).unwrap(), "x");
    fs::write(path("a/free"), "").unwrap();

    // Moved below the mount, by somebody else.
    fs::rename(mount.lower().join("other"), mount.lower().join("a/b/other")).unwrap();
    assert_eq!(errno(fs::write(path("a/b/other/new"), "")), readonly);
    fs::rename(mount.lower().join("a/b/c"), mount.lower().join("c")).unwrap();
    fs::write(path("c/file"), "free").unwrap();
    // The subtree itself, by the mount: it is the directory, not the path.
    fs::rename(path("a/b"), path("moved")).unwrap();
    assert_eq!(errno(fs::write(path("moved/new"), "")), readonly);
    fs::create_dir(path("a/b")).unwrap();
    fs::write(path("a/b/new"), "free").unwrap();
    mount.finish();
}

fn a_name_is_refused_where_it_is_looked_up(variant: Variant) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "[[rule]]\nname = 'n'\naction = 'deny'\nerrno = 'EPERM'\nnames = ['secret', 'core']\n";
    fs::write(file.path(), text).unwrap();
    let args = ["--rules", file.path().to_str().unwrap()];
    let mount = TestMount::builder(variant).args(&args).mount();
    for name in ["secret", "secret2", "cor"] {
        fs::write(mount.lower().join(name), name).unwrap();
    }
    // A listing loads attributes, but not of this one.
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 3);
    assert_eq!(
        errno(fs::read(mount.path().join("secret"))),
        raw(Errno::PERM)
    );
    assert_eq!(
        errno(fs::write(mount.path().join("core"), "")),
        raw(Errno::PERM)
    );
    assert_eq!(
        fs::read_to_string(mount.path().join("secret2")).unwrap(),
        "secret2"
    );
    assert_eq!(fs::read_to_string(mount.path().join("cor")).unwrap(), "cor");
    let (met, limited) = met(&mount, "n");
    assert!(met >= 2 && limited == 0, "{met} {limited}");
    mount.finish();
}

fn so_many_pass_and_no_more(variant: Variant) {
    let mount = TestMount::new(variant);
    replace(
        &mount,
        "[[rule]]\nname = 'few'\naction = 'limit'\nrequests = ['MKDIR']\nrate = '1/h'\nburst = 10\n",
    );
    let made: usize = thread::scope(|scope| {
        let make = |thread| {
            let mount = &mount;
            move || {
                let names = (0..10).map(move |n| mount.path().join(format!("{thread}-{n}")));
                let made = names.map(fs::create_dir).map(errno);
                made.filter(|errno| match errno {
                    None => true,
                    busy => {
                        assert_eq!(*busy, raw(Errno::BUSY));
                        false
                    }
                })
                .count()
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(make(thread))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(made, 10);
    assert_eq!(met(&mount, "few"), (40, 30));
    mount.finish();
}

/// While tables are exchanged a request meets the one or the other, never something of both.
fn tables_are_exchanged_at_one_moment(variant: Variant) {
    let mount = TestMount::new(variant);
    let table = |other: &str, errno: &str| {
        let rule = |name: &str, action: &str| {
            format!("[[rule]]\nname = '{name}'\naction = '{action}'\nrequests = 'MKDIR'\n")
        };
        let idle: String = (0..30)
            .map(|n| rule(&format!("{other}{n}"), "count") + "uid = 77\n")
            .collect();
        idle + &rule("last", "deny") + &format!("errno = '{errno}'\n")
    };
    let tables = [table("a", "EPERM"), table("b", "EIO")];
    replace(&mount, &tables[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let changer = scope.spawn(|| {
            for n in 0..10 {
                replace(&mount, &tables[n % 2]);
            }
        });
        let maker = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let refused = errno(fs::create_dir(mount.path().join("x")));
                assert!(
                    [raw(Errno::PERM), raw(Errno::IO)].contains(&refused),
                    "{refused:?}"
                );
                seen += 1;
            }
            seen
        });
        let changed = changer.join();
        done.store(true, Ordering::Relaxed);
        assert!(maker.join().unwrap() > 10 && changed.is_ok());
    });
    mount.finish();
}

for_every_transport!(
    on_variant,
    [
        the_first_rule_that_a_request_meets_decides,
        a_subtree_is_where_it_is_whoever_moves_what,
        a_name_is_refused_where_it_is_looked_up,
        so_many_pass_and_no_more,
        tables_are_exchanged_at_one_moment,
    ]
);
