//! What others reach of a daemon: nothing.

use crate::common::{TestMount, Variant, on_variant, shell, wait_until};
use nix::unistd::Pid;
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
};

/// A program run by nobody, who owns nothing.
fn as_nobody(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    shell::output(command.args(args))
}

/// The numbers of the maps that a process holds.
fn maps(pid: Pid) -> BTreeSet<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("descriptors");
    entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("map_id:"))?;
            line.trim().parse().ok()
        })
        .collect()
}

fn another_user_reaches_nothing_of_the_daemon(mount: &TestMount) {
    let pid = mount.daemon_seen().expect("a daemon").pid();
    for what in ["fd", "map_files", "task"] {
        let place = format!("/proc/{pid}/{what}");
        let listing = as_nobody("ls", &["-lR", &place]);
        let text = String::from_utf8_lossy(&listing.stdout).into_owned();
        assert!(!text.contains("bpf-map"), "{place}: {text}");
    }
    for what in ["mem", "environ", "io", "syscall", "stack"] {
        let place = format!("/proc/{pid}/{what}");
        let read = as_nobody("head", &["-c1", &place]);
        assert!(!read.status.success(), "{place} is readable");
    }
    for id in maps(pid) {
        let dump = as_nobody("bpftool", &["map", "dump", "id", &id.to_string()]);
        assert!(!dump.status.success(), "map {id} is readable");
    }
}

/// What bpftool says of a map; it fails if there is none of this number.
fn shown(id: u32) -> Output {
    let mut bpftool = Command::new("bpftool");
    let id = id.to_string();
    shell::output(bpftool.args(["--json", "--bpffs", "map", "show", "id", &id]))
}

fn nothing_is_pinned_and_nothing_is_left(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let held = maps(mount.the_daemon().pid());
    assert!(!held.is_empty());
    for &id in &held {
        let text = String::from_utf8_lossy(&shown(id).stdout).into_owned();
        assert!(
            text.contains("\"id\"") && !text.contains("\"pinned\":[\""),
            "{text}"
        );
    }
    mount.the_daemon().kill();
    wait_until("the kernel has let go of the maps", || {
        held.iter().all(|&id| !shown(id).status.success())
    });
    mount.abandon();
}

#[test]
#[ignore = "root"]
fn two_mounts_share_no_map() {
    on_variant(Variant::SHM_COPY, "two_mounts_share_no_map", |variant| {
        let mounts = [(); 2].map(|()| TestMount::new(variant));
        let [one, other] = [0, 1].map(|n: usize| maps(mounts[n].daemon_seen().unwrap().pid()));
        assert!(!one.is_empty() && one.is_disjoint(&other));
        mounts.into_iter().for_each(TestMount::finish);
    });
}

for_every_transport!(on_mount, [another_user_reaches_nothing_of_the_daemon]);

mod shared_memory {
    use super::*;
    variant_tests!(
        shm_copy_strict,
        Variant::SHM_COPY,
        on_variant,
        [nothing_is_pinned_and_nothing_is_left]
    );
}
