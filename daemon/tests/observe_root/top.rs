//! `shmfuse top`.

use super::viewer::Viewer;
use crate::common::{Daemon, TestMount, Transport, Variant, bash, shell, wait_until};
use serde_json::Value;
use std::{fs, process::Command};

fn top(mount: &TestMount, args: &[&str]) -> Viewer {
    Viewer::start(mount, "top", args, "looking at 1 mounts")
}

fn is_shared(mount: &TestMount) -> bool {
    matches!(
        mount.variant(),
        Variant::Daemon {
            transport: Transport::Shm | Transport::ShmKernel,
            ..
        }
    )
}

fn rates_are_those_of_the_interval(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "content").unwrap();
    let viewer = top(mount, &["--json", "--interval", "500ms", "--count", "60"]);
    bash(
        mount.path(),
        "for i in {1..100}; do [ -e none$i ] || true; done",
    );
    let find = || -> Option<Value> {
        let shown = viewer.shown();
        let lines = shown
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        // The look-ups may fall into two intervals: the sum tells.
        let lines: Vec<Value> = lines.collect();
        let count = |line: &Value| {
            let rate = line["ops"]["LOOKUP"]["errors_per_s"]
                .as_f64()
                .unwrap_or(0.0);
            rate * line["seconds"].as_f64().expect("seconds")
        };
        let sum: f64 = lines.iter().map(count).sum();
        (sum.round() >= 100.0).then(|| {
            lines
                .into_iter()
                .max_by(|a, b| count(a).total_cmp(&count(b)))
        })?
    };
    wait_until("a hundred look-ups are shown", || find().is_some());
    let line = find().expect("a line");
    let lookup = &line["ops"]["LOOKUP"];
    let quantiles = ["mean_ns", "p50_ns", "p99_ns"].map(|name| lookup[name].as_u64().unwrap_or(0));
    assert!(quantiles.iter().all(|&ns| ns > 0), "{line}");
    assert!(quantiles[1] <= quantiles[2], "{line}");
    assert_eq!(line["mountpoint"], mount.path().to_str().expect("UTF-8"));
    assert!(line["resident_bytes"].as_u64() > Some(0), "{line}");
    assert!(line["threads"].as_u64() > Some(1), "{line}");
    assert_eq!(line["slots"].is_u64(), is_shared(mount), "{line}");
    assert_eq!(line["lanes"].is_array(), is_shared(mount), "{line}");
    viewer.stop();
}

fn once_is_a_table_for_people_and_leaves_no_control_sequence(mount: &TestMount) {
    let viewer = top(mount, &["--once"]);
    bash(mount.path(), "ls -l; [ -e none ] || true");
    let text = viewer.wait();
    assert!(text.contains(mount.path().to_str().unwrap()), "{text}");
    assert!(
        text.contains("requests/s") && text.contains("LOOKUP"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
}

fn a_terminal_is_taken_and_given_back(mount: &TestMount) {
    // script(1) makes the terminal. A key ends it.
    let command = format!(
        "(sleep 2.5; printf q) | script --quiet --return --command 'stty rows 20 columns 60; {} top {} \
         --interval 200ms; stty -a' /dev/null",
        Daemon::program(),
        mount.path().display()
    );
    let text = shell::run(Command::new("bash").args(["-c", &command]));
    assert!(
        text.contains("\x1b[?1049h") && text.contains("\x1b[?1049l"),
        "{text}"
    );
    assert!(text.contains("requests/s"), "{text}");
    let (_, after) = text.rsplit_once("\x1b[?1049l").expect("the end of it");
    assert!(
        after.contains(" icanon") && after.contains(" echo "),
        "{after}"
    );
}

fn the_end_of_the_mount_ends_it(mount: &TestMount) {
    let other = TestMount::new(mount.variant());
    let viewer = top(&other, &["--interval", "100ms"]);
    other.finish();
    assert!(viewer.wait().contains("its daemon has ended"));
}

for_every_transport!(on_mount, [rates_are_those_of_the_interval]);

mod once {
    use super::*;
    variant_tests!(
        shm_copy_strict,
        Variant::SHM_COPY,
        on_mount,
        [
            once_is_a_table_for_people_and_leaves_no_control_sequence,
            a_terminal_is_taken_and_given_back,
            the_end_of_the_mount_ends_it,
        ]
    );
}
