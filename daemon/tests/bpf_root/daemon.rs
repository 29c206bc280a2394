//! Held against the daemon's own mounts, one of each transport: the accounts are balanced.

use std::{
    fs::{self, File},
    io::Write,
};

use shmfuse::{
    bpf::{OpcodeCounts, Programs, Snapshot},
    mount::table::DeviceNumber,
};
use transport::wire::Opcode;

use crate::common::{TestMount, wait_until};

for_every_transport!(on_mount, [every_request_is_accounted_for]);

/// How often each thing is done. More than there are ring entries, so that these are used again.
const TIMES: u64 = 200;

fn every_request_is_accounted_for(mount: &TestMount) {
    let mut programs = Programs::load().expect("the programs load");
    let minor = mount.connection();
    let device = DeviceNumber { major: 0, minor };
    programs.watch(device).expect("the programs watch");

    for index in 0..TIMES {
        let path = mount.path().join(format!("file-{index}"));
        let mut file = File::create(&path).expect("a new file");
        file.write_all(&[7; 10_000]).expect("its contents");
        drop(file);
        assert_eq!(fs::read(&path).expect("the contents").len(), 10_000);
        fs::remove_file(&path).expect("it can be removed");
        fs::remove_file(&path).expect_err("but not twice");
    }

    // RELEASE comes after close(2) has returned
    let counts = |opcode| *programs.counters().snapshot().opcode(opcode);
    wait_until("every file is released", || {
        counts(Opcode::RELEASE).ended >= 2 * TIMES
    });
    wait_until("no request is under way", || {
        programs
            .counters()
            .snapshot()
            .seen()
            .all(|(_, counts)| is_balanced(counts))
    });

    let counted = programs.counters().snapshot();
    println!("{}", in_a_table(&counted));
    assert_eq!(counted.starts_dropped, 0);
    assert_eq!(counts(Opcode::CREATE).ended, TIMES);
    assert_eq!(counts(Opcode::OPEN).ended, TIMES);
    assert_eq!(counts(Opcode::RELEASE).ended, 2 * TIMES);
    assert_eq!(counts(Opcode::UNLINK).ended, TIMES);
    assert!(counts(Opcode::LOOKUP).failed >= 2 * TIMES);
    // What an application waits for passes both tracepoints, on every transport and kernel.
    for opcode in [Opcode::CREATE, Opcode::OPEN, Opcode::UNLINK, Opcode::LOOKUP] {
        assert_eq!(counts(opcode).unmatched, 0, "{opcode}");
    }
}

/// Whether all that was sent has ended, and all that has ended was either timed or never seen
/// before.
fn is_balanced(counts: &OpcodeCounts) -> bool {
    let timed = counts.latency.count();
    timed == counts.sent && timed + counts.unmatched == counts.ended
}

fn in_a_table(snapshot: &Snapshot) -> String {
    let rows = snapshot.seen().map(|(opcode, counts)| {
        let name = opcode.map_or("others".to_owned(), |opcode| opcode.to_string());
        let OpcodeCounts {
            sent,
            ended,
            failed,
            unmatched,
            latency,
        } = counts;
        let mean_us = latency.mean_ns().unwrap_or_default() / 1_000;
        format!("{name:14} {sent:6} {ended:6} {failed:6} {unmatched:6} {mean_us:6}")
    });
    let head = "opcode           sent  ended failed unmatd   us";
    std::iter::once(head.to_owned())
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}
