//! The ring protocol on the real kernel: under random load its counters keep their promises
//! (docs/protocol.md, section 12).
//!
//! `SHMFUSE_SOAK_SECONDS` says how long, 5 by default.

#[macro_use]
mod common;

use common::{TestMount, Variant, Watchdog, load::Load, stat, try_stat, watchdog::wait_until};
use serde_json::Value;
use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

fn seconds() -> u64 {
    env::var("SHMFUSE_SOAK_SECONDS").map_or(5, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("SHMFUSE_SOAK_SECONDS={text}: not a number"))
    })
}

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

const NAMES: [&str; 8] = [
    "arrivals",
    "answered",
    "dispatched",
    "denied",
    "commits",
    "errors",
    "bytes_in",
    "bytes_out",
];

/// What holds at every moment.
fn assert_promises(now: &Value, before: Option<&Value>) {
    let totals = &now["totals"];
    let outcomes = ["answered", "dispatched", "denied"].map(|name| number(totals, name));
    let decided: u64 = outcomes.iter().sum();
    assert!(number(totals, "arrivals") >= decided, "{totals}");
    assert!(
        number(totals, "commits") <= number(totals, "dispatched"),
        "{totals}"
    );
    assert!(
        number(totals, "errors") <= number(totals, "commits"),
        "{totals}"
    );
    assert_eq!(number(now, "corrupt"), 0, "{now}");
    let slots = number(now, "queues") * number(now, "depth");
    // Read after the commits, arrivals may count requests whose commit is not counted yet: a slot
    // of each at most is between the two, and one more may have come meanwhile.
    assert!(number(totals, "in_flight") <= 1000 * slots, "{totals}");
    if let Some(before) = before {
        for name in NAMES {
            assert!(
                number(totals, name) >= number(&before["totals"], name),
                "{name} went back: {before} {now}"
            );
        }
    }
}

/// What holds when nothing is in flight.
fn assert_balance(rest: &Value) {
    let totals = &rest["totals"];
    assert_eq!(
        number(totals, "arrivals"),
        number(totals, "answered") + number(totals, "denied") + number(totals, "commits"),
        "{totals}"
    );
    assert_eq!(
        number(totals, "dispatched"),
        number(totals, "commits"),
        "{totals}"
    );
    let ops = rest["ops"].as_object().expect("counters by opcode");
    for name in NAMES {
        let sum: u64 = ops.values().map(|op| number(op, name)).sum();
        assert_eq!(sum, number(totals, name), "{name} by opcode: {rest}");
    }
}

fn counters_add_up_under_load(variant: Variant) {
    let time = Duration::from_secs(seconds());
    let _watchdog = Watchdog::start("invariants", time * 2 + common::LIMIT);
    let mount = TestMount::new(variant);
    let mut loads: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|name| {
            fs::create_dir(mount.path().join(name)).unwrap();
            Load::start(&mount.path().join(name))
        })
        .collect();
    wait_until("the daemon is found", || try_stat(mount.path()).is_some());
    let start = Instant::now();
    let mut before = None;
    while start.elapsed() < time {
        loads.iter_mut().for_each(Load::assert_working);
        let now = stat(mount.path());
        assert_promises(&now, before.as_ref());
        before = Some(now);
        thread::sleep(Duration::from_millis(50));
    }
    for mut load in loads {
        load.wait_for_rounds(1);
        load.stop();
    }
    // RELEASE is sent in the background: the last ones may come after the load has ended.
    wait_until("nothing is in flight", || {
        let now = stat(mount.path());
        let later = stat(mount.path());
        number(&now["totals"], "in_flight") == 0 && now["totals"] == later["totals"]
    });
    let rest = stat(mount.path());
    assert_balance(&rest);
    assert!(number(&rest["totals"], "arrivals") > 1000, "{rest}");
    println!("{}: {}", variant.name(), rest["totals"]);
    mount.finish();
}

fn a_stopped_daemon_can_be_looked_at(variant: Variant) {
    let mut mount = TestMount::new(variant);
    // A mount answers a little before its daemon can be found, and before its rings are complete:
    // until then requests come over /dev/fuse, which the programs do not see.
    wait_until("the daemon is found", || try_stat(mount.path()).is_some());
    let creations = |seen: &Value| seen["ops"]["CREATE"]["commits"].as_u64();
    let mut file = 0;
    wait_until("a file is made over the rings", || {
        file += 1;
        fs::write(mount.path().join(format!("file{file}")), "x").unwrap();
        creations(&stat(mount.path())) >= Some(1)
    });
    mount.the_daemon().stop();
    let seen = stat(mount.path());
    mount.the_daemon().signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(seen["transport"], "shm");
    assert!(creations(&seen) >= Some(1), "{seen}");
    mount.finish();
}

fn a_request_under_way_is_seen_in_its_slot(variant: Variant) {
    let mount = TestMount::builder(variant)
        .args(&["--lower-delay", "3s:slow"])
        .mount();
    wait_until("the daemon is found", || try_stat(mount.path()).is_some());
    let ask = || {
        let path = mount.path().join("slow");
        thread::spawn(move || fs::exists(path))
    };
    let mut waiting = ask();
    wait_until("the request is in a slot", || {
        // It may have gone over `/dev/fuse`, or its time was over before we looked.
        if waiting.is_finished() {
            waiting = ask();
        }
        stat(mount.path())["slots"]["in_use"] == 1
    });
    assert!(!waiting.join().unwrap().unwrap(), "there is no such file");
    wait_until("nothing is in a slot or on a lane", || {
        let now = stat(mount.path());
        now["slots"]["in_use"] == 0 && now["lanes"]["metadata"] == 0 && now["lanes"]["bulk"] == 0
    });
    let seen = stat(mount.path());
    assert_eq!(number(&seen["slots"], "all"), number(&seen, "queues") * 8);
    let latency = &seen["ops"]["LOOKUP"]["latency_ns"];
    assert!(number(latency, "max") >= 3_000_000_000, "{latency}");
    assert!(
        number(latency, "p50") <= number(latency, "p99"),
        "{latency}"
    );
    mount.finish();
}

for_every_shm_variant!(
    on_long_variant,
    [
        a_request_under_way_is_seen_in_its_slot,
        counters_add_up_under_load,
        a_stopped_daemon_can_be_looked_at
    ]
);
