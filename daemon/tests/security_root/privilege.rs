//! What every thread of a daemon may still do, as /proc tells it.

use crate::common::{TestMount, Variant, bash, wait_until};
use rustix::thread::CapabilitySet;
use shmfuse::privilege::{MAIN, SERVING, kept};
use std::{collections::BTreeMap, fs};

/// A thread's name and the fields of its `/proc/PID/task/TID/status`.
struct Thread {
    name: String,
    status: BTreeMap<String, String>,
}

impl Thread {
    fn mask(&self, field: &str) -> u64 {
        u64::from_str_radix(&self.status[field], 16).expect("a mask")
    }

    /// Whether it serves, or was started by one that does.
    fn serves(&self) -> bool {
        self.name.starts_with("shmfuse-")
    }
}

fn threads(mount: &TestMount) -> Vec<Thread> {
    let pid = mount.daemon_seen().expect("a daemon").pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
    tasks
        .flatten()
        // A thread may end between the listing and the reading.
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        // The kernel's own poll threads: they run nothing of the daemon's.
        .filter(|text| !text.starts_with("Name:\tiou-"))
        .map(|text| {
            let status: BTreeMap<_, _> = text
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect();
            Thread {
                name: status["Name"].clone(),
                status,
            }
        })
        .collect()
}

fn every_thread_has_let_go_of_what_it_does_not_need(mount: &TestMount) {
    // A lock that is waited for has a thread of the pool made.
    bash(
        mount.path(),
        "echo x >file; exec 9<file; flock 9
         (exec 8<file; flock -w 1 8 || true) & sleep 0.2",
    );
    let serving = kept::of(SERVING).bits();
    let main = kept::of(MAIN).bits();
    let threads = threads(mount);
    assert!(threads.iter().any(Thread::serves));
    for thread in &threads {
        let allowed = match &*thread.name {
            // They neither serve nor mount.
            "shmfuse-revoke" | "metrics" => 0,
            _ if thread.serves() => serving,
            _ => main,
        };
        let name = &thread.name;
        for field in ["CapPrm", "CapEff", "CapBnd"] {
            let beyond = thread.mask(field) & !allowed;
            let beyond = CapabilitySet::from_bits_retain(beyond);
            assert!(beyond.is_empty(), "{name}: {field} has {beyond:?}");
        }
        for field in ["CapInh", "CapAmb"] {
            assert_eq!(thread.mask(field), 0, "{name}: {field}");
        }
        assert_eq!(thread.status["NoNewPrivs"], "1", "{name}");
        let filter = if allowed == main { "0" } else { "2" };
        assert_eq!(thread.status["Seccomp"], filter, "{name}");
    }
    let gone = CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_MODULE | CapabilitySet::SETPCAP;
    assert_eq!(serving & gone.bits(), 0);
}

fn what_takes_privileges_still_works(mount: &TestMount) {
    bash(
        mount.path(),
        "touch f; chown 12:34 f; chmod 6755 f; test $(stat -c %u:%g:%a f) = 12:34:6755
         mknod null c 1 3; test $(stat -c %t:%T null) = 1:3
         setfattr -n trusted.t -v v f; getfattr -n trusted.t f >/dev/null
         setcap cap_net_raw+ep f; getcap f | grep -q cap_net_raw
         setpriv --reuid 1000 --regid 1000 --clear-groups true
         mkdir -m 1777 open; setpriv --reuid 1000 --regid 1001 --clear-groups touch open/theirs
         test $(stat -c %u:%g open/theirs) = 1000:1001",
    );
}

for_every_daemon_variant!(
    on_mount,
    [
        every_thread_has_let_go_of_what_it_does_not_need,
        what_takes_privileges_still_works,
    ]
);

fn the_threads_of_a_coherent_mount_have_let_go_as_well(variant: Variant) {
    let args = ["--cache", "coherent", "--metrics", "0"];
    let mount = TestMount::builder(variant).args(&args).mount();
    wait_until("every thread is there", || {
        threads(&mount)
            .iter()
            .any(|thread| thread.name == "metrics")
    });
    every_thread_has_let_go_of_what_it_does_not_need(&mount);
    mount.finish();
}

mod coherent {
    use super::*;
    variant_tests!(
        classic_copy,
        Variant::CLASSIC_COPY,
        on_variant,
        [the_threads_of_a_coherent_mount_have_let_go_as_well]
    );
    variant_tests!(
        shm_copy,
        Variant::SHM_COPY,
        on_variant,
        [the_threads_of_a_coherent_mount_have_let_go_as_well]
    );
}
