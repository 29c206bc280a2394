//! `shmfuse doctor`, as root.

use super::{PROGRAM, Place, succeeds};
use crate::common::shell::output;
use std::{fs, process::Command};

#[test]
#[ignore = "root"]
fn doctor_leaves_no_mount_and_finds_what_a_mount_uses() {
    let connections = || {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
        table
            .lines()
            .filter(|line| line.contains("- fuse "))
            .count()
    };
    let before = connections();
    let text = succeeds(&output(Command::new(PROGRAM).args(["doctor", "--json"])));
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["can_mount"], true);
    let checks = report["checks"].as_array().expect("checks");
    let protocol = checks.iter().find(|check| check["name"] == "protocol");
    let version = protocol.expect("the protocol")["found"].as_str();
    assert!(
        version.is_some_and(|version| version.starts_with("7.")),
        "{text}"
    );
    assert_eq!(connections(), before);
}

#[test]
#[ignore = "root"]
fn doctor_says_who_would_report_changes_of_a_directory() {
    let place = Place::new("doctor_changes");
    let lower = place.lower.to_str().expect("UTF-8");
    let line = |text: &str| -> serde_json::Value {
        let report: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let checks = report["checks"].as_array().expect("checks");
        let of_lower = checks.iter().find(|check| check["area"] == "changes");
        of_lower.expect("a line on changes").clone()
    };
    let text = succeeds(&output(
        Command::new(PROGRAM).args(["doctor", "--json", lower]),
    ));
    let check = line(&text);
    assert_eq!(
        (&check["status"], &check["name"]),
        (&"yes".into(), &lower.into())
    );
    let found = check["found"].as_str().expect("what was found");
    assert!(
        found.contains("kinds of change were tried, each was"),
        "{found}"
    );
    let entries = fs::read_dir(&place.lower).expect("LOWER").count();
    assert_eq!(entries, 1, "the scratch directory is left");
    let text =
        succeeds(&place.script("open_device; as_nobody shmfuse doctor --json lower || true"));
    let check = line(&text);
    assert_eq!(check["status"], "no", "{text}");
    assert!(
        check["found"]
            .as_str()
            .is_some_and(|found| found.contains("fanotify: ")),
        "{text}"
    );
}
