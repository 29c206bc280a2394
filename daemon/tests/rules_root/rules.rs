//! `shmfuse rules`, as the tests call it.

use crate::common::{Daemon, TestMount, shell};
use serde_json::Value;
use std::{fs, process::Command};

/// `shmfuse rules` of this mount, with what follows the mountpoint.
pub fn command(mount: &TestMount, args: &[&str]) -> Command {
    let mut command = Command::new(Daemon::program());
    command.arg("rules").arg(mount.path()).args(args);
    command
}

/// Puts a file of rules in the place of those in force.
pub fn replace(mount: &TestMount, text: &str) {
    let file = mount.scratch().join("rules.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    shell::run(&mut command(mount, &["replace", file]));
}

/// What the command says when it fails.
pub fn refusal(command: &mut Command) -> String {
    let output = shell::output(command);
    assert!(!output.status.success(), "{command:?} succeeds");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How often requests met a rule, and how often one was too many.
pub fn met(mount: &TestMount, rule: &str) -> (u64, u64) {
    let text = shell::run(&mut command(mount, &["list", "--json"]));
    let list: Value = serde_json::from_str(&text).expect("it prints JSON");
    let rules = list.as_array().expect("a list of rules");
    let found = rules.iter().find(|other| other["name"] == rule);
    let found = found.unwrap_or_else(|| panic!("no rule {rule} in {text}"));
    let count = |key: &str| found[key].as_u64().expect("a count");
    (count("met"), count("limited"))
}
