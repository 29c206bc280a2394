//! The daemon, its users or both stand still for a while, and go on.

use crate::common::{TestMount, Variant, load::Load, skip, wait_until};
use nix::sys::signal::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

fn stopped_for(variant: Variant, times: usize, time: Duration) {
    let mut mount = TestMount::builder(variant).mount();
    let mut load = Load::start(mount.path());
    load.wait_for_rounds(1);
    for _ in 0..times {
        mount.the_daemon().signal(Signal::SIGSTOP);
        thread::sleep(time);
        mount.the_daemon().signal(Signal::SIGCONT);
        let more = load
            .rounds()
            .iter()
            .map(|(_, rounds)| rounds + 1)
            .min()
            .unwrap_or(1);
        load.wait_for_rounds(more);
    }
    load.stop();
    mount.finish();
}

fn a_daemon_that_was_stopped_goes_on_where_it_was(variant: Variant) {
    stopped_for(variant, 3, Duration::from_millis(300));
}

fn a_daemon_that_was_stopped_for_a_minute_goes_on_where_it_was(variant: Variant) {
    stopped_for(variant, 1, Duration::from_secs(60));
}

/// A control group of processes that are frozen together: what the kernel does to all of them when the machine
/// is suspended.
struct Freezer {
    place: PathBuf,
    control: &'static str,
    words: [&'static str; 2],
}

impl Freezer {
    /// None where there are no such groups.
    fn new() -> Option<Self> {
        let v1 = Path::new("/sys/fs/cgroup/freezer");
        let v2 = Path::new("/sys/fs/cgroup");
        let (base, control, words) = if v1.exists() {
            (v1, "freezer.state", ["FROZEN", "THAWED"])
        } else if v2.join("cgroup.procs").exists() {
            (v2, "cgroup.freeze", ["1", "0"])
        } else {
            return None;
        };
        let place = base.join(format!("shmfuse-test-{}", std::process::id()));
        fs::create_dir(&place).ok()?;
        Some(Self {
            place,
            control,
            words,
        })
    }

    fn write(base: &Path, name: &str, text: &str) {
        fs::write(base.join(name), text).expect("a control file of the group");
    }

    /// Freezes these, lets the time pass, and thaws them. Who waits for an answer of a daemon that is
    /// frozen cannot be frozen itself: it stands still all the same.
    fn pause(&self, pids: &[i32]) {
        for pid in pids {
            Self::write(&self.place, "cgroup.procs", &pid.to_string());
        }
        Self::write(&self.place, self.control, self.words[0]);
        thread::sleep(Duration::from_millis(200));
        Self::write(&self.place, self.control, self.words[1]);
        for pid in pids {
            let above = self.place.parent().expect("a group above");
            Self::write(above, "cgroup.procs", &pid.to_string());
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.place.join(self.control), self.words[1]);
        for _ in 0..100 {
            if fs::remove_dir(&self.place).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Appends a line, and counts those there are, without end; ends with 9 if one is missing.
fn count(place: &Path) -> Child {
    let script = "n=0; while :; do echo x >>counted; n=$((n + 1)); mapfile -t lines <counted
                  [ ${#lines[@]} = $n ] || exit 9; done";
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(place);
    command.spawn().expect("bash")
}

fn what_was_frozen_goes_on_where_it_was(variant: Variant) {
    let Some(freezer) = Freezer::new() else {
        return skip::skip(
            "what_was_frozen",
            "no control group of the freezer can be made",
        );
    };
    let mount = TestMount::builder(variant).mount();
    let daemon = mount.daemon_seen().expect("a daemon").pid().as_raw();
    let mut user = count(mount.path());
    let user_pid = i32::try_from(user.id()).expect("a process id");
    let counted = || fs::read(mount.lower().join("counted")).map_or(0, |text| text.len());
    wait_until("it counts", || counted() > 0);
    for frozen in [
        &[daemon][..],
        &[user_pid],
        &[daemon, user_pid],
        &[user_pid, daemon],
    ] {
        freezer.pause(frozen);
        let before = counted();
        wait_until("it goes on", || counted() > before);
        assert_eq!(user.try_wait().expect("its status"), None);
    }
    user.kill().expect("a signal");
    user.wait().expect("its end");
    drop(freezer);
    mount.finish();
}

for_every_transport!(
    on_variant,
    [
        a_daemon_that_was_stopped_goes_on_where_it_was,
        what_was_frozen_goes_on_where_it_was,
    ]
);
mod full_run_minute {
    use super::*;
    for_every_transport!(
        on_variant,
        [a_daemon_that_was_stopped_for_a_minute_goes_on_where_it_was]
    );
}
