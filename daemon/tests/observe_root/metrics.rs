//! `--metrics` and `--log-format json`.

use crate::common::{TestMount, Variant, bash, on_variant, wait_until};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

fn mounted(variant: Variant) -> (TestMount, SocketAddr) {
    let mount = TestMount::builder(variant)
        .args(&["--metrics", "0"])
        .mount();
    let address = || -> Option<SocketAddr> {
        let log = mount.daemon_seen().expect("a daemon").log();
        let (_, rest) = log.split_once("metrics at http://")?;
        rest.split_once("/metrics")?.0.parse().ok()
    };
    wait_until("the log names the address", || address().is_some());
    let address = address().expect("an address");
    (mount, address)
}

fn ask(address: SocketAddr, question: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(question.as_bytes()).expect("asking");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// The numbers by name and labels. Fails the test if a line is none of Prometheus' text format.
fn numbers(address: SocketAddr) -> BTreeMap<String, f64> {
    let (head, body) = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let lines = body.lines().filter(|line| !line.starts_with("# "));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn metrics_count_what_is_done(variant: Variant) {
    let (mount, address) = mounted(variant);
    assert!(address.ip().is_loopback());
    let lookups = |numbers: &BTreeMap<String, f64>| {
        numbers
            .get("shmfuse_request_duration_seconds_count{op=\"LOOKUP\"}")
            .copied()
            .unwrap_or(0.0)
    };
    let before = numbers(address);
    bash(
        mount.path(),
        "for i in {1..50}; do [ -e none$i ] || true; done",
    );
    let after = numbers(address);
    assert!(lookups(&after) >= lookups(&before) + 50.0, "{after:?}");
    let failed = after["shmfuse_request_errors_total{op=\"LOOKUP\"}"];
    assert!(failed >= 50.0);
    let bucket = "shmfuse_request_duration_seconds_bucket{op=\"LOOKUP\",le=\"+Inf\"}";
    assert_eq!(after[bucket], lookups(&after));
    assert!(after["shmfuse_held{what=\"inodes\"}"] >= 1.0);
    assert!(after["process_resident_memory_bytes"] > 0.0);
    let info = after.keys().find(|name| name.starts_with("shmfuse_info{"));
    let place = format!("mountpoint=\"{}\"", mount.path().display());
    assert!(info.is_some_and(|info| info.contains(&place)), "{info:?}");
    mount.finish();
}

fn other_questions_are_refused_and_bad_ones_hurt_nobody(variant: Variant) {
    let (mount, address) = mounted(variant);
    assert!(ask(address, "GET / HTTP/1.0\r\n\r\n").0.contains("404"));
    assert!(
        ask(address, "POST /metrics HTTP/1.0\r\n\r\n")
            .0
            .contains("405")
    );
    let endless = format!("GET /metrics{} HTTP/1.0\r\n\r\n", "x".repeat(100));
    assert!(ask(address, &endless).0.contains("404"));
    // Gone without having asked.
    drop(TcpStream::connect(address).expect("a connection"));
    let mut binary = TcpStream::connect(address).expect("a connection");
    binary
        .write_all(&[0xff, 0, b'\r', b'\n', b'\r', b'\n', b'\r', b'\n'])
        .expect("asking");
    drop(binary);
    assert!(!numbers(address).is_empty());
    mount.finish();
}

fn the_log_is_json_if_it_is_to_be(variant: Variant) {
    let args = ["--log-format", "json"];
    let mut mount = TestMount::builder(variant).args(&args).mount();
    bash(mount.path(), "ls");
    mount.unmount();
    mount.the_daemon().expect_clean_end();
    let log = mount.the_daemon().log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    assert!(
        lines.iter().any(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "INFO" && message.contains("mounted on")
        }),
        "{log}"
    );
    assert!(
        lines.iter().all(|line| line["timestamp"].is_string()),
        "{log}"
    );
    mount.abandon();
}

for_every_transport!(on_variant, [metrics_count_what_is_done]);

mod once {
    use super::*;
    variant_tests!(
        shm_copy_strict,
        Variant::SHM_COPY,
        on_variant,
        [
            other_questions_are_refused_and_bad_ones_hurt_nobody,
            the_log_is_json_if_it_is_to_be,
        ]
    );
}

#[test]
#[ignore = "root"]
fn a_daemon_with_metrics_has_let_go_of_what_it_does_not_need() {
    let name = "a_daemon_with_metrics_has_let_go_of_what_it_does_not_need";
    on_variant(Variant::CLASSIC_COPY, name, |variant| {
        let (mount, _) = mounted(variant);
        let pid = mount.daemon_seen().expect("a daemon").pid();
        let status = bash(
            mount.scratch(),
            &format!("cat $(grep -l '^metrics' /proc/{pid}/task/*/comm | sed s/comm/status/)"),
        );
        for line in ["CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "no {line} in {status}");
        }
        mount.finish();
    });
}
