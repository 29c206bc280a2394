//! `shmfuse trace`.

use super::viewer::Viewer;
use crate::common::{TestMount, Transport, Variant, bash, shell, wait_until};
use serde_json::Value;
use std::{fs, process::Command};

const READY: &str = "tracing";

fn start(mount: &TestMount, args: &[&str]) -> Viewer {
    Viewer::start(mount, "trace", &[&["--json"], args].concat(), READY)
}

fn lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    text.lines().map(parse).collect()
}

fn of_op<'a>(lines: &'a [Value], op: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["op"] == op).collect()
}

fn has_rings(mount: &TestMount) -> bool {
    matches!(
        mount.variant(),
        Variant::Daemon {
            transport: Transport::Uring | Transport::Shm | Transport::ShmKernel,
            ..
        }
    )
}

fn each_request_is_told_with_its_stages(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "content").unwrap();
    let viewer = start(mount, &[]);
    bash(mount.path(), "cat file; ! cat none 2>/dev/null");
    wait_until("the RELEASE is told", || viewer.shown().contains("RELEASE"));
    let lines = lines(&viewer.stop());

    let lookups = of_op(&lines, "LOOKUP");
    assert!(lookups.iter().any(|line| line["errno"] == 2), "{lines:?}");
    let found = lookups.iter().find(|line| line["errno"] == 0).unwrap();
    assert_eq!(found["node"], 1);
    assert_eq!((&found["uid"], &found["task"]), (&0.into(), &"cat".into()));
    for line in &lines {
        let total = line["total_ns"].as_u64().unwrap();
        let stages = ["queue_ns", "serve_ns", "reply_ns"].map(|stage| line[stage].as_u64());
        if has_rings(mount) {
            let sum: u64 = stages.iter().flatten().sum();
            assert_eq!(stages.iter().flatten().count(), 3, "{line}");
            assert_eq!(sum, total, "{line}");
        } else {
            assert_eq!(stages, [None; 3], "{line}");
        }
        assert!(line["unique"].as_u64().unwrap() > 0, "{line}");
    }
}

fn a_filter_lets_nothing_else_through(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "content").unwrap();
    let viewer = start(mount, &["--op", "open,FLUSH", "--uid", "1000"]);
    let as_user = "setpriv --reuid 1000 --regid 1000 --clear-groups cat file";
    bash(mount.path(), &format!("cat file; {as_user}"));
    wait_until("the FLUSH is told", || viewer.shown().contains("FLUSH"));
    let told = lines(&viewer.stop());
    let of: Vec<_> = told
        .iter()
        .map(|line| (&line["op"], &line["uid"]))
        .collect();
    let uid = &Value::from(1000);
    assert_eq!(of, [(&"OPEN".into(), uid), (&"FLUSH".into(), uid)]);

    let viewer = start(mount, &["--slow", "30s", "--for", "1s"]);
    bash(mount.path(), "cat file; ls -l");
    assert_eq!(viewer.wait(), "");
    let viewer = start(mount, &["--op", "LOOKUP", "--count", "2"]);
    bash(
        mount.path(),
        "for i in 1 2 3 4; do stat none$i 2>/dev/null || true; done",
    );
    assert_eq!(lines(&viewer.wait()).len(), 2);
}

fn another_mount_is_not_traced(mount: &TestMount) {
    let other = TestMount::new(mount.variant());
    let viewer = start(mount, &[]);
    bash(other.path(), "echo x >file; cat file; ls -l; rm file");
    let marker = mount.path().join("marker");
    assert!(!marker.exists());
    wait_until("the look-up here is told", || {
        viewer.shown().contains("LOOKUP")
    });
    let lines = lines(&viewer.stop());
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["op"].as_str().unwrap())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| ["GETATTR", "LOOKUP", "STATX"].contains(name)),
        "{names:?}"
    );
    other.finish();
}

fn a_trace_leaves_no_program_behind(mount: &TestMount) {
    let programs = || {
        let listed = shell::run(Command::new("bpftool").args(["--json", "prog", "show"]));
        listed.matches("\"trace_").count()
    };
    let before = programs();
    let viewer = start(mount, &[]);
    assert!(programs() >= before + 4);
    drop(viewer);
    wait_until("the programs have gone", || programs() <= before);
}

fn the_kernels_events_are_recorded(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "content").unwrap();
    let record = |name: &str| {
        let file = mount.scratch().join(name);
        let args = ["--ftrace", file.to_str().unwrap()];
        let viewer = Viewer::start(mount, "trace", &args, "recording");
        bash(mount.path(), "cat file; ls -l");
        viewer.stop();
        file
    };
    let text = fs::read_to_string(record("events")).unwrap();
    let mut expected = vec!["fuse_request_send: ", "fuse_request_end: ", "(FUSE_OPEN)"];
    if has_rings(mount) {
        expected.extend(["io_uring_complete: ", "io_uring_submit_req: "]);
    }
    for event in expected {
        assert!(text.contains(event), "no {event} in:\n{text}");
    }
    let dat = record("events.dat");
    assert!(
        fs::read(&dat)
            .unwrap()
            .starts_with(b"\x17\x08\x44tracing6\0")
    );
    let trace_cmd = Command::new("trace-cmd")
        .arg("report")
        .arg("-i")
        .arg(&dat)
        .output();
    match trace_cmd {
        Ok(report) => {
            let text = String::from_utf8_lossy(&report.stdout);
            assert!(text.contains("fuse_request_send:"), "{report:?}");
            assert!(text.contains("sched_switch:"), "{report:?}");
        }
        Err(_) => crate::common::skip::skip("the_kernels_events_are_recorded", "no trace-cmd"),
    }
    // The instance is gone.
    let instances = fs::read_dir("/sys/kernel/tracing/instances")
        .into_iter()
        .flatten();
    let ours = instances.flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("shmfuse-");
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    assert_eq!(ours.count(), 0);
}

for_every_transport!(
    on_mount,
    [
        each_request_is_told_with_its_stages,
        the_kernels_events_are_recorded,
    ]
);

mod once {
    use super::*;
    variant_tests!(
        shm_copy_strict,
        Variant::SHM_COPY,
        on_mount,
        [
            a_filter_lets_nothing_else_through,
            another_mount_is_not_traced,
            a_trace_leaves_no_program_behind,
        ]
    );
}
