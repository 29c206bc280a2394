//! Rules that change while the mount is used, and inodes that move from one to another.

use super::shown::{BOX, Shown, of, own, replace, shown};
use crate::common::{Daemon, TestMount, bash, shell};
use std::{
    fs::{self, File},
    process::Command,
};

const FILE: u32 = 0o100_000;

/// [`BOX`] below a directory.
fn below(directory: &str) -> String {
    BOX.replace("name =", &format!("subtree = \"{directory}\"\nname ="))
}

fn a_change_of_rules_is_seen_at_once(mount: &TestMount) {
    bash(
        mount.lower(),
        "mkdir a b; touch a/1 b/2; chmod 755 a b a/1 b/2",
    );
    for path in ["a", "b", "a/1", "b/2"] {
        own(&mount.lower().join(path), 100_001, 100_001);
    }
    let (one, two) = (mount.path().join("a/1"), mount.path().join("b/2"));
    let open = File::open(&one).expect("open");
    let (plain, hidden) = (
        Shown(100_001, 100_001, FILE | 0o755),
        Shown(1, 1, FILE | 0o700),
    );
    for round in 0..5 {
        // The kernel believes what it was told until now.
        assert_eq!((of(&one), of(&two)), (plain, plain), "round {round}");
        replace(mount, &below("a"));
        assert_eq!((of(&one), of(&two)), (hidden, plain), "round {round}");
        assert_eq!(shown(&open.metadata().expect("fstat")), hidden);
        replace(mount, &below("b"));
        assert_eq!((of(&one), of(&two)), (plain, hidden), "round {round}");
        replace(mount, BOX);
        assert_eq!((of(&one), of(&two)), (hidden, hidden), "round {round}");
        let mut delete = Command::new(Daemon::program());
        shell::run(delete.arg("rules").arg(mount.path()).args(["del", "box"]));
    }
}

fn what_is_moved_is_shown_as_what_lies_there(mount: &TestMount) {
    bash(
        mount.lower(),
        "mkdir -p in out/tree/deep; chown 100001:100001 in; touch out/tree/deep/file out/one",
    );
    bash(
        mount.lower(),
        "chown -R 100001:100001 out; chmod -R 755 out",
    );
    replace(mount, &below("in"));
    let at = |path: &str| of(&mount.path().join(path));
    let (plain, hidden) = (
        Shown(100_001, 100_001, FILE | 0o755),
        Shown(1, 1, FILE | 0o700),
    );
    let open = File::open(mount.path().join("out/tree/deep/file")).expect("open");
    assert_eq!((at("out/one"), at("out/tree/deep/file")), (plain, plain));
    // By way of the mount.
    bash(mount.path(), "mv out/one out/tree in");
    let moved = || {
        (at("in/one"), at("in/tree/deep/file")) == (hidden, hidden)
            && at("in/tree/deep") == Shown(1, 1, 0o040_700)
    };
    match mount.variant().is_cached() {
        // What is believed of all that lies below is revoked behind the move's own reply.
        true => crate::common::wait_until("what was moved in is hidden", moved),
        false => assert!(moved()),
    }
    // And below.
    bash(mount.lower(), "mv in/one in/tree out");
    let wait = || at("out/one") == plain && at("out/tree/deep/file") == plain;
    crate::common::wait_until("what was moved out is plain again", wait);
    let fstat = || shown(&open.metadata().expect("fstat")) == plain;
    crate::common::wait_until("so is what is open", fstat);
}

fn attributes_are_valid_for_as_long_as_a_rule_says(mount: &TestMount) {
    bash(mount.lower(), "touch file; chmod 600 file");
    let rules = "[[transform]]\nname = 'long'\nattr_ttl = 1000\n";
    replace(mount, rules);
    let open = File::open(mount.path().join("file")).expect("open");
    let mode = || shown(&open.metadata().expect("fstat")).2;
    assert_eq!(mode(), FILE | 0o600);
    bash(mount.lower(), "chmod 640 file");
    match mount.variant().is_cached() {
        // Revoked all the same.
        true => crate::common::wait_until("the change is seen", || mode() == FILE | 0o640),
        false => assert_eq!(mode(), FILE | 0o600, "believed"),
    }
    replace(mount, "");
    assert_eq!(mode(), FILE | 0o640);
}

fn what_is_wrong_changes_nothing(mount: &TestMount) {
    bash(mount.lower(), "touch file; chmod 755 file");
    own(&mount.lower().join("file"), 100_001, 100_001);
    replace(mount, BOX);
    let wrong = [
        (
            "uid = [{ below = 1, shown = 5, count = 4 }, { below = 9, shown = 8, count = 4 }]",
            "have an id shown in common",
        ),
        ("subtree = \"nowhere\"\nhide = \"7\"", "cannot examine"),
        (
            "subtree = \"file\"\nhide = \"7\"",
            "not a directory of this mount",
        ),
    ];
    for (keys, why) in wrong {
        let file = mount.scratch().join("wrong.toml");
        fs::write(&file, format!("[[transform]]\nname = \"wrong\"\n{keys}\n")).expect("a file");
        let mut command = Command::new(Daemon::program());
        let command = command.arg("rules").arg(mount.path()).arg("replace");
        let output = shell::output(command.arg(file));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert_eq!(of(&mount.path().join("file")), Shown(1, 1, FILE | 0o700));
    }
}

for_every_way!(on_mount, [a_change_of_rules_is_seen_at_once]);
variant_tests!(
    moves_classic,
    Variant::CLASSIC_COPY.coherent(),
    on_mount,
    [what_is_moved_is_shown_as_what_lies_there]
);
variant_tests!(
    moves_shm,
    Variant::SHM_COPY,
    on_mount,
    [
        what_is_moved_is_shown_as_what_lies_there,
        attributes_are_valid_for_as_long_as_a_rule_says,
        what_is_wrong_changes_nothing,
    ]
);
variant_tests!(
    validity_coherent,
    Variant::URING_COPY.coherent(),
    on_mount,
    [attributes_are_valid_for_as_long_as_a_rule_says]
);
