//! `shmfuse trace`.

use super::viewer::Viewer;
use crate::common::{TestMount, Transport, Variant, bash, shell, wait_until};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use std::{fs, process::Command, thread, time::Duration};

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

/// The whole, and the three stages if they were seen.
fn times(line: &Value) -> (u64, [Option<u64>; 3]) {
    let total = line["total_ns"].as_u64().unwrap();
    let stages = ["queue_ns", "serve_ns", "reply_ns"].map(|stage| line[stage].as_u64());
    (total, stages)
}

fn each_request_is_told_with_its_stages(mount: &TestMount) {
    fs::write(mount.lower().join("file"), "content").unwrap();
    let viewer = start(mount, &[]);
    // Short and long requests and answers, and one that is served by a thread of its own.
    bash(
        mount.path(),
        "cat file; ! cat none 2>/dev/null; head -c 3M /dev/zero >large; cat large >/dev/null
         flock large true; ls >/dev/null; rm large",
    );
    let released = || viewer.shown().matches("RELEASE\"").count() >= 2;
    wait_until("the RELEASEs are told", released);
    let lines = lines(&viewer.stop());

    let lookups = of_op(&lines, "LOOKUP");
    assert!(lookups.iter().any(|line| line["errno"] == 2), "{lines:?}");
    let found = lookups.iter().find(|line| line["errno"] == 0).unwrap();
    assert_eq!(found["node"], 1);
    assert_eq!((&found["uid"], &found["task"]), (&0.into(), &"cat".into()));
    for line in &lines {
        let (total, stages) = times(line);
        assert_eq!(stages.iter().flatten().count(), 3, "{line}");
        assert_eq!(stages.iter().flatten().sum::<u64>(), total, "{line}");
        assert!(line["unique"].as_u64().unwrap() > 0, "{line}");
    }
}

/// Whether each thread of a process has stopped: one that has not may still take a request. Those that the kernel
/// polls rings by (`iou-...`) are left out.
fn stands_still(process: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.as_raw())).expect("its threads");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // "number (name) state"
        stat.contains("(iou-") || stat.contains(") T ")
    })
}

/// How many requests are under way.
fn waiting(mount: &TestMount) -> u32 {
    let path = format!("/sys/fs/fuse/connections/{}/waiting", mount.connection());
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim().parse().expect("a number")
}

/// The daemon is slow, and then is not there to take a request: each is seen in its stage, and in no other.
fn time_is_told_of_the_stage_it_was_spent_in(variant: Variant) {
    let mut mount = TestMount::builder(variant)
        .args(&["--lower-delay", "300ms:slow*"])
        .mount();
    fs::write(mount.lower().join("slow"), "").unwrap();
    let viewer = start(&mount, &["--slow", "200ms"]);
    fs::metadata(mount.path().join("slow")).unwrap();
    mount.the_daemon().signal(Signal::SIGSTOP);
    let daemon = mount.daemon_seen().expect("a daemon").pid();
    wait_until("it stands still", || stands_still(daemon));
    thread::scope(|scope| {
        let path = mount.path().join("waits");
        scope.spawn(move || fs::metadata(path).expect_err("there is none"));
        wait_until("it has asked", || waiting(&mount) > 0);
        thread::sleep(Duration::from_millis(300));
        mount.the_daemon().signal(Signal::SIGCONT);
    });
    let told_of = |stage: usize| {
        let shown = viewer.shown();
        let whole = &shown[..shown.rfind('\n').map_or(0, |end| end + 1)];
        lines(whole).iter().any(|line| {
            let (total, stages) = times(line);
            assert_eq!(stages.iter().flatten().sum::<u64>(), total, "{line}");
            stages[stage].is_some_and(|ns| ns >= 300_000_000)
        })
    };
    wait_until("the slow look-up is told", || told_of(1));
    wait_until("what waited for the daemon is told", || told_of(0));
    drop(viewer);
    mount.finish();
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

mod stages {
    use super::*;
    for_every_transport!(on_variant, [time_is_told_of_the_stage_it_was_spent_in]);
}

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
