//! What `shmfuse stat --json` says of a mount.

use super::{Daemon, shell};
use serde_json::Value;
use std::{path::Path, process::Command};

/// What it says; anything but success fails the test.
pub fn stat(mountpoint: &Path) -> Value {
    serde_json::from_str(&shell::run(&mut command(mountpoint))).expect("it prints JSON")
}

/// What it says, if it finds a daemon.
pub fn try_stat(mountpoint: &Path) -> Option<Value> {
    let output = shell::output(&mut command(mountpoint));
    let said = || serde_json::from_slice(&output.stdout).expect("it prints JSON");
    output.status.success().then(said)
}

fn command(mountpoint: &Path) -> Command {
    let mut command = Command::new(Daemon::program());
    command.args(["stat", "--json"]).arg(mountpoint);
    command
}
