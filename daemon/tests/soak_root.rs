//! Mixed load for a long time: no error, flat memory, flat descriptors.
//!
//! `SHMFUSE_SOAK_SECONDS` says how long on each variant, 5 by default, 600 in the full run.
//! Growth is judged from 60 seconds on.

#[macro_use]
mod common;

use common::{TestMount, Variant, Watchdog, load::Load};
use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

/// Resident memory that may come with caches filling up late, in bytes.
const MEMORY_SLACK: u64 = 4 << 20;

/// Descriptors that may come and go with the load.
const DESCRIPTOR_SLACK: usize = 64;

fn seconds() -> u64 {
    env::var("SHMFUSE_SOAK_SECONDS").map_or(5, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("SHMFUSE_SOAK_SECONDS={text}: not a number"))
    })
}

/// Peaks of one quarter of the time.
#[derive(Clone, Copy, Default, Debug)]
struct Peak {
    memory: u64,
    descriptors: usize,
}

fn mixed_load_meets_no_error_and_leaves_memory_flat(variant: Variant) {
    let time = Duration::from_secs(seconds());
    let _watchdog = Watchdog::start("soak", time * 2 + common::LIMIT);
    let mut mount = TestMount::new(variant);
    let mut loads: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            fs::create_dir(mount.path().join(name)).unwrap();
            Load::start(&mount.path().join(name))
        })
        .collect();
    let mut quarters = [Peak::default(); 4];
    let start = Instant::now();
    while start.elapsed() < time {
        loads.iter_mut().for_each(Load::assert_working);
        let daemon = mount.the_daemon();
        let quarter =
            &mut quarters[(start.elapsed().as_millis() * 4 / time.as_millis()) as usize % 4];
        quarter.memory = quarter.memory.max(daemon.resident());
        quarter.descriptors = quarter.descriptors.max(daemon.descriptors());
        thread::sleep(Duration::from_millis(500));
    }
    for mut load in loads {
        load.wait_for_rounds(1);
        println!("{}: {:?}", variant.name(), load.rounds());
        load.stop();
    }
    println!("{}: peaks of each quarter {quarters:?}", variant.name());
    if time >= Duration::from_secs(60) {
        let [_, second, _, last] = quarters;
        assert!(
            last.memory <= second.memory + second.memory / 20 + MEMORY_SLACK,
            "{quarters:?}"
        );
        assert!(
            last.descriptors <= second.descriptors + DESCRIPTOR_SLACK,
            "{quarters:?}"
        );
    }
    mount.finish();
}

for_every_daemon_variant!(
    on_long_variant,
    [mixed_load_meets_no_error_and_leaves_memory_flat]
);
