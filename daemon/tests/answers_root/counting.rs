//! Lookups that the daemon does not see are counted all the same.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant, bash, daemon::wait_for_inodes};
use std::fs;

fn walk(mount: &TestMount) {
    bash(
        mount.path(),
        "for i in 1 2 3 4 5; do find . -ls >/dev/null; stat -c %i */* >/dev/null; done",
    );
}

fn after_answered_lookups_everything_is_forgotten(variant: Variant) {
    let mut mount = mounted(TestMount::builder(variant));
    bash(
        mount.lower(),
        "for d in {1..10}; do mkdir $d; touch $d/{1..20}; ln $d/1 hard$d; ln -s $d soft$d; done",
    );
    for _ in 0..3 {
        walk(&mount);
        assert!(Counted::of(&mount).answered("LOOKUP") > 500);
        wait_for_inodes(mount.the_daemon(), 1);
    }
    assert_not_miscounted(&mut mount);
    mount.finish();
}

fn words_that_count_pass_from_inode_to_inode(variant: Variant) {
    let mut mount = mounted(TestMount::builder(variant).args(&["--s1-entries", "32"]));
    bash(
        mount.lower(),
        "for d in {1..10}; do mkdir $d; touch $d/{1..20}; done",
    );
    for _ in 0..3 {
        walk(&mount);
        bash(
            mount.path(),
            "for p in 1 2 3 4; do
                 { for i in {1..20}; do stat -c %i $p/1 $p/2 1/1 >/dev/null; done; } &
             done
             wait",
        );
        wait_for_inodes(mount.the_daemon(), 1);
    }
    let counted = Counted::of(&mount);
    assert!(counted.s1("withdrawn") > 100, "{}", counted.s1("withdrawn"));
    assert!(counted.answered("LOOKUP") > 0);
    assert_not_miscounted(&mut mount);
    mount.finish();
}

fn answers_that_race_with_forgetting_are_counted(variant: Variant) {
    let mut mount = mounted(TestMount::builder(variant));
    bash(mount.lower(), "touch {1..50}");
    for _ in 0..5 {
        bash(
            mount.path(),
            "for p in 1 2 3; do
                 { for i in {1..10}; do stat -c %i {1..50} >/dev/null; done; } &
             done
             for i in {1..10}; do echo 2 >/proc/sys/vm/drop_caches; done
             wait",
        );
        wait_for_inodes(mount.the_daemon(), 1);
    }
    fs::metadata(mount.path().join("1")).unwrap();
    assert_not_miscounted(&mut mount);
    mount.finish();
}

/// The daemon says so when the kernel gives more back than it was given.
fn assert_not_miscounted(mount: &mut TestMount) {
    let log = mount.the_daemon().log();
    assert!(!log.contains("the kernel forgets"), "{log}");
}

for_every_shm_variant!(
    on_variant,
    [
        after_answered_lookups_everything_is_forgotten,
        words_that_count_pass_from_inode_to_inode,
        answers_that_race_with_forgetting_are_counted,
    ]
);
