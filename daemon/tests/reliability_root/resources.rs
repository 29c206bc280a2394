//! The machine's resources run short: memory, descriptors.

use crate::common::{TestMount, bash, skip};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
};

/// A memory control group of a test; removed when dropped.
struct Group(PathBuf);

impl Group {
    /// One with so many MiB; none where there are no such groups.
    fn new(mib: u64) -> Option<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let v2 = Path::new("/sys/fs/cgroup");
        let (base, limit) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else if fs::read_to_string(v2.join("cgroup.subtree_control"))
            .is_ok_and(|controllers| controllers.contains("memory"))
        {
            (v2, "memory.max")
        } else {
            return None;
        };
        let group = Self(base.join(format!("shmfuse-test-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(limit), (mib << 20).to_string()).ok()?;
        Some(group)
    }

    fn add(&self, pid: impl ToString) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process in the group");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last process may still be ending.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn little_memory_makes_it_slow_and_nothing_worse(mount: &TestMount) {
    let Some(group) = Group::new(160) else {
        return skip::skip("little_memory", "no memory control group can be made");
    };
    group.add(mount.daemon_seen().expect("a daemon").pid());
    let tasks = group.0.join("cgroup.procs");
    // Several times what the group may hold, by daemon and application, written, read and walked.
    bash(
        mount.path(),
        &format!(
            "echo $$ >{}
             dd if=/dev/zero of=large bs=1M count=400 status=none; sync large
             cmp -n 419430400 large /dev/zero
             mkdir d; for i in {{1..500}}; do echo $i >d/$i; done; cat d/* | wc -l | grep -q 500
             find . -type f | wc -l | grep -q 501; rm -r d large",
            tasks.display()
        ),
    );
    // Out of the group, so that it can go.
    Group(group.0.parent().expect("a parent").to_owned()).leave(mount);
    drop(group);
}

impl Group {
    /// The daemon goes back to the group above; this value is not the owner of that.
    fn leave(self, mount: &TestMount) {
        self.add(mount.daemon_seen().expect("a daemon").pid());
        std::mem::forget(self);
    }
}

fn thousands_of_files_are_open_at_once(mount: &TestMount) {
    const OPENERS: usize = 50;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raising it");
    // The daemon has the same limit, and a descriptor for each open file.
    let each = (usize::try_from(hard).unwrap_or(usize::MAX) / 2).min(10_000) / OPENERS;
    for opener in 0..OPENERS {
        fs::write(mount.lower().join(opener.to_string()), opener.to_string()).unwrap();
    }
    let all_open = Barrier::new(OPENERS);
    thread::scope(|scope| {
        for opener in 0..OPENERS {
            let all_open = &all_open;
            scope.spawn(move || {
                let open = |n: usize| {
                    let name = (opener + n) % OPENERS;
                    let file = File::open(mount.path().join(name.to_string())).expect("a file");
                    (name, file)
                };
                let files: Vec<_> = (0..each).map(open).collect();
                all_open.wait();
                for (name, mut file) in files {
                    let mut text = String::new();
                    file.read_to_string(&mut text).expect("its content");
                    assert_eq!(text, name.to_string());
                }
            });
        }
    });
}

for_every_transport!(on_mount, [thousands_of_files_are_open_at_once]);

mod memory {
    use super::*;
    variant_tests!(
        classic_copy_strict,
        Variant::CLASSIC_COPY,
        on_mount,
        [little_memory_makes_it_slow_and_nothing_worse]
    );
    variant_tests!(
        shm_copy_strict,
        Variant::SHM_COPY,
        on_mount,
        [little_memory_makes_it_slow_and_nothing_worse]
    );
}
