//! A mount that nobody uses.

use crate::common::{TestMount, Variant, Watchdog, wait_until};
use nix::unistd::Pid;
use std::{fs, thread, time::Duration};

/// How often the kernel threads that poll for a process have gone to sleep (proc_pid_status(5)).
fn sleeps_of_poll_threads(pid: Pid) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
    let statuses = tasks.flatten().filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        status.starts_with("Name:\tiou-sqp-").then_some(status)
    });
    let sleeps: Vec<u64> = statuses
        .map(|status| {
            let found = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            found.expect("a count").trim().parse().expect("a number")
        })
        .collect();
    assert!(!sleeps.is_empty(), "the daemon has no poll threads");
    sleeps.iter().sum()
}

/// What wakes them makes them poll for some ticks of a CPU each time.
#[test]
#[ignore = "root"]
fn poll_threads_of_a_mount_that_nobody_uses_sleep_on() {
    let _watchdog = Watchdog::start(
        "poll_threads_of_a_mount_that_nobody_uses_sleep_on",
        Duration::from_secs(120),
    );
    let mut mount = TestMount::new(Variant::SHM_KERNEL_COPY);
    fs::metadata(mount.path()).expect("a look at the mount");
    let pid = mount.the_daemon().pid();
    wait_until("half a second passes in which no poll thread wakes", || {
        let before = sleeps_of_poll_threads(pid);
        thread::sleep(Duration::from_millis(500));
        sleeps_of_poll_threads(pid) == before
    });
    mount.finish();
}
