//! `--supervise`: what goes on and what fails when a daemon dies that has a supervisor.

#[macro_use]
mod common;

#[path = "supervise_root/anew.rs"]
mod anew;
#[path = "supervise_root/goes_on.rs"]
mod goes_on;

use common::{Daemon, TestMount, Variant, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The daemon that this supervisor has at present.
fn daemon_of(supervisor: &Daemon) -> Option<Pid> {
    let pid = supervisor.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let child = children.split_whitespace().next()?;
    Some(Pid::from_raw(child.parse().expect("a process id")))
}

/// Kills it.
fn kill_daemon_of(supervisor: &Daemon) -> Pid {
    let daemon = daemon_of(supervisor).expect("a daemon");
    kill(daemon, Signal::SIGKILL).expect("a signal to the daemon");
    daemon
}

/// A mount with a supervisor, whose first daemon serves.
fn supervised(variant: Variant) -> TestMount {
    let mut mount = TestMount::builder(variant).args(&["--supervise"]).mount();
    let supervisor = mount.the_daemon();
    wait_until("the daemon serves", || {
        supervisor.log().contains("mounted on")
    });
    mount
}
