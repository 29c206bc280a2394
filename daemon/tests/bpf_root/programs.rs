//! Held against a FUSE server that counts for itself: nothing more, nothing less, nothing of another
//! mount's, and nothing left behind.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use shmfuse::bpf::{Programs, Snapshot};
use transport::wire::Opcode;

use crate::server::{Mount, Served};

/// Longer than anything here takes on a machine that works, however busy it is.
const WATCHDOG: Duration = Duration::from_secs(60);

fn programs_watching(mount: &Mount) -> Programs {
    let mut programs = Programs::load().expect("the programs load");
    programs.watch(mount.device()).expect("the programs watch");
    programs
}

/// Requests by opcode that `now` has more than `then`, without those that pass no tracepoint.
fn served_between(then: &Served, now: Served) -> Served {
    let mut between = now;
    for (opcode, count) in then {
        *between.get_mut(opcode).expect("counters only grow") -= count;
    }
    between.retain(|opcode, count| *count != 0 && *opcode != Opcode::FORGET);
    between
}

fn sent(snapshot: &Snapshot) -> Served {
    let seen = snapshot.seen();
    seen.map(|(opcode, counts)| (opcode.expect("a known opcode"), counts.sent))
        .collect()
}

#[test]
#[ignore = "root"]
fn counts_per_opcode_equal_what_was_served() {
    let mount = Mount::new();
    let programs = programs_watching(&mount);
    let served_before = mount.served();

    mount.look_up_missing(100);
    for _ in 0..10 {
        mount.root().metadata().expect("stat of the root");
        nix::sys::statvfs::statvfs(mount.root()).expect_err("our server has no STATFS");
    }

    let served = served_between(&served_before, mount.served());
    let counted = programs.counters().snapshot();
    assert_eq!(served[&Opcode::LOOKUP], 100);
    assert_eq!(served[&Opcode::STATFS], 10);
    assert_eq!(sent(&counted), served);
    assert_eq!(counted.starts_dropped, 0);
    for (opcode, counts) in counted.seen() {
        // our server knows an answer to nothing else
        let failed = if opcode == Some(Opcode::GETATTR) {
            0
        } else {
            counts.sent
        };
        assert_eq!(counts.ended, counts.sent, "{opcode:?}");
        assert_eq!(counts.failed, failed, "{opcode:?}");
        assert_eq!(counts.unmatched, 0, "{opcode:?}");
        assert_eq!(counts.latency.count(), counts.sent, "{opcode:?}");
        let mean_ns = counts.latency.mean_ns().unwrap();
        assert!(
            (1_000..WATCHDOG.as_nanos() as u64).contains(&mean_ns),
            "{opcode:?}: {mean_ns} ns"
        );
    }
}

#[test]
#[ignore = "root"]
fn no_count_is_lost_when_many_threads_ask() {
    let mount = Mount::new();
    let programs = programs_watching(&mount);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| mount.look_up_missing(500));
        }
    });
    let lookups = *programs.counters().snapshot().opcode(Opcode::LOOKUP);
    // threads that ask for one name at one time share a LOOKUP, so the server's word is needed
    assert_eq!(lookups.sent, mount.served()[&Opcode::LOOKUP] - 1);
    assert_eq!(
        (lookups.ended, lookups.failed, lookups.unmatched),
        (lookups.sent, lookups.sent, 0)
    );
    assert_eq!(lookups.latency.count(), lookups.sent);
}

#[test]
#[ignore = "root"]
fn nothing_is_counted_before_a_mount_is_named() {
    let mount = Mount::new();
    let mut programs = Programs::load().expect("the programs load");
    mount.look_up_missing(5);
    assert_eq!(programs.counters().snapshot(), Snapshot::default());

    programs.watch(mount.device()).expect("the programs watch");
    let before = programs.counters().snapshot();
    mount.look_up_missing(5);
    let between = programs.counters().snapshot() - &before;
    assert_eq!(between.opcode(Opcode::LOOKUP).sent, 5);
}

#[test]
#[ignore = "root"]
fn two_mounts_do_not_mix() {
    let (one, other) = (Mount::new(), Mount::new());
    let (of_one, of_other) = (programs_watching(&one), programs_watching(&other));
    let lookups = |programs: &Programs| programs.counters().snapshot().opcode(Opcode::LOOKUP).ended;

    one.look_up_missing(30);
    assert_eq!((lookups(&of_one), lookups(&of_other)), (30, 0));
    other.look_up_missing(50);
    assert_eq!((lookups(&of_one), lookups(&of_other)), (30, 50));

    drop(of_other);
    one.look_up_missing(7);
    assert_eq!(lookups(&of_one), 37);
}

/// Set for the process that `nothing_is_left_of_a_holder_that_was_killed` starts and kills: the same
/// test once more, in the other role.
const HOLDER: &str = "BPF_ROOT_HOLDER";

const HOLDS: &str = "holds programs ";

#[test]
#[ignore = "root"]
fn nothing_is_left_of_a_holder_that_was_killed() {
    if env::var_os(HOLDER).is_some() {
        return hold();
    }
    let mut holder = Command::new(env::current_exe().expect("our own path"))
        .args([
            "--exact",
            "programs::nothing_is_left_of_a_holder_that_was_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(HOLDER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let lines = BufReader::new(holder.stdout.take().expect("its output is piped")).lines();
    let ids: Vec<u32> = lines
        .map(|line| line.expect("the holder prints"))
        .find_map(|line| Some(line.split_once(HOLDS)?.1.to_owned()))
        .expect("the holder says what it holds")
        .split_whitespace()
        .map(|id| id.parse().expect("a program's number"))
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|&id| kernel_has_program(id)), "{ids:?}");

    holder.kill().expect("kill -9");
    holder.wait().expect("the holder is dead");
    let deadline = Instant::now() + WATCHDOG;
    while let Some(id) = ids.iter().find(|&&id| kernel_has_program(id)) {
        assert!(
            Instant::now() < deadline,
            "program {id} outlives its holder"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

fn hold() {
    let programs = Programs::load().expect("the programs load");
    let ids: Vec<_> = programs.ids().iter().map(u32::to_string).collect();
    println!("\n{HOLDS}{}", ids.join(" "));
    thread::sleep(WATCHDOG);
}

fn kernel_has_program(id: u32) -> bool {
    Command::new("bpftool")
        .args(["prog", "show", "id", &id.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("bpftool, which cargo xtask setup installs")
        .success()
}

#[test]
#[ignore = "root"]
fn without_capabilities_the_error_says_what_is_missing() {
    // of this thread alone, which ends with the test
    let nothing = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, nothing).expect("capabilities can always be given up");
    let error = Programs::load().expect_err("no program loads without capabilities");
    let text = error.to_string();
    assert!(text.contains("CAP_BPF"), "{text}");
}

#[test]
#[ignore = "root"]
fn the_verifier_walks_few_instructions() {
    let programs = Programs::load().expect("the programs load");
    let walked = programs.verified_instructions();
    println!("instructions walked by the verifier: {walked:?}");
    assert_eq!(walked.len(), 2);
    for (name, instructions) in walked {
        // 83 and 259 on Linux 6.18; ten times that would be another program
        assert!(instructions < 2_500, "{name}: {instructions}");
    }
}
