//! The daemon forgets what the kernel forgets.

use crate::common::{TestMount, Variant, bash, daemon::wait_for_inodes, wait_until};
use std::fs;

fn after_a_walk_and_a_drop_only_the_root_is_known(variant: Variant) {
    let mut mount = TestMount::new(variant);
    bash(
        mount.lower(),
        "for d in {1..40}; do mkdir $d; touch $d/{1..40}; ln $d/1 hard$d; ln -s $d soft$d; done",
    );
    bash(
        mount.path(),
        "find . -ls >/dev/null; find -L . >/dev/null; ls -lR >/dev/null; cat */1
         touch new; mv new 1/newer; mkdir -p 2/a/b; mv 2/a 3/a; rm -r 3/a; ln 1/newer 4/linked
         mv 5/1 5/2; stat nowhere 2>/dev/null || true; rm 6/*",
    );
    // Somebody else on this machine may have the caches dropped at the same time.
    wait_until("a walk leaves inodes known", || {
        bash(mount.path(), "find . -ls >/dev/null");
        mount.the_daemon().holdings()["inodes"] > 1000
    });
    wait_for_inodes(mount.the_daemon(), 1);
    assert_eq!(mount.the_daemon().holdings()["files"], 0);
    mount.finish();
}

fn an_open_file_stays_known_and_nothing_else(variant: Variant) {
    let mut mount = TestMount::new(variant);
    bash(
        mount.path(),
        "mkdir -p a/b; touch a/b/{1..100}; echo text >a/b/open",
    );
    let file = fs::File::open(mount.path().join("a/b/open")).unwrap();
    fs::remove_file(mount.path().join("a/b/open")).unwrap();
    // The dentry of the open file holds those of the directories above it.
    wait_for_inodes(mount.the_daemon(), 4);
    assert_eq!(std::io::read_to_string(&file).unwrap(), "text\n");
    assert_eq!(mount.the_daemon().holdings()["files"], 1);
    drop(file);
    wait_for_inodes(mount.the_daemon(), 1);
    mount.finish();
}

fn many_lookups_at_once_are_counted_exactly(variant: Variant) {
    let mut mount = TestMount::new(variant);
    bash(
        mount.lower(),
        "mkdir {1..10}; for d in {1..10}; do touch $d/{1..20}; done",
    );
    for _ in 0..5 {
        bash(
            mount.path(),
            "pids=
             for p in 1 2 3 4 5 6; do
                 { for i in 1 2 3; do ls -lR >/dev/null; find . -name x; done; } & pids+=\" $!\"
             done
             { for i in {1..60}; do mv 1/1 2/x; mv 2/x 1/1; done; } & pids+=\" $!\"
             for pid in $pids; do wait $pid || true; done",
        );
        wait_for_inodes(mount.the_daemon(), 1);
    }
    mount.finish();
}

for_every_transport!(
    on_variant,
    [
        after_a_walk_and_a_drop_only_the_root_is_known,
        an_open_file_stays_known_and_nothing_else,
        many_lookups_at_once_are_counted_exactly,
    ]
);
