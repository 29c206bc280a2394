//! Mounts made and unmade many times, and files opened and closed many times: nothing stays.

use crate::common::{
    Daemon, Holdings, TestMount, Variant, bash, load::Load, mount::temp_dir, scale, wait_until,
};
use std::fs::{self, File};

/// Mounts made and unmade at scale 1.
const CYCLES: u64 = 10;

/// Everything that is to be the same after each cycle.
fn remains() -> (usize, usize, usize) {
    let count = |dir: &str| fs::read_dir(dir).map_or(0, Iterator::count);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = mounts.lines().filter(|line| line.contains("shmfuse-test-"));
    (
        count("/proc/self/fd"),
        count("/sys/fs/fuse/connections"),
        ours.count(),
    )
}

fn many_mounts_under_load_leave_nothing_behind(variant: Variant) {
    let dir = temp_dir(crate::common::LowerFs::Disk);
    let (lower, mountpoint) = (dir.path().join("lower"), dir.path().join("mnt"));
    for cycle in 0..CYCLES * scale::factor() {
        let before = remains().0;
        let mut mount = TestMount::builder(variant)
            .lower(&lower)
            .mountpoint(&mountpoint)
            .mount();
        let mut load = Load::start(mount.path());
        load.wait_for_rounds(1);
        load.stop();
        assert!(mount.the_daemon().descriptors() < 1000, "in cycle {cycle}");
        let holdings = Holdings::of(mount.the_daemon().pid());
        mount.finish();
        wait_until("no map and no program is left", || {
            holdings.left().is_empty()
        });
        assert_eq!(
            remains().0,
            before,
            "descriptors of the test in cycle {cycle}"
        );
        assert!(!crate::common::mount::is_fuse_mountpoint(&mountpoint));
        if (cycle + 1) % 50 == 0 {
            println!("{}: {} cycles", variant.name(), cycle + 1);
        }
    }
}

fn descriptors_and_mappings_come_back_when_files_are_closed(mount: &TestMount, daemon: &Daemon) {
    let churn = |files: usize| {
        let names: Vec<_> = (0..files)
            .map(|i| mount.path().join(format!("file{i}")))
            .collect();
        let open: Vec<_> = names
            .iter()
            .map(|name| File::create(name).unwrap())
            .collect();
        drop(open);
        for name in names {
            fs::remove_file(name).unwrap();
        }
        bash(mount.path(), "ls -R >/dev/null");
    };
    churn(10);
    let (descriptors, mappings) = (daemon.descriptors(), daemon.mappings());
    for _ in 0..5 {
        churn(300);
    }
    // RELEASE and FORGET are sent without anybody waiting for them.
    wait_until("the daemon holds no more descriptors than before", || {
        daemon.descriptors() <= descriptors + 8
    });
    let more = daemon.mappings().saturating_sub(mappings);
    assert!(more < 16, "{more} mappings more than before");
}

fn closed_files_free_what_they_held(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let daemon = mount.take_daemon();
    descriptors_and_mappings_come_back_when_files_are_closed(&mount, &daemon);
    mount.give_daemon(daemon);
    mount.finish();
}

for_every_daemon_variant!(
    on_variant,
    [
        many_mounts_under_load_leave_nothing_behind,
        closed_files_free_what_they_held
    ]
);
