//! A small made-up run, for tests.

use crate::{
    counting::Counts,
    floor::Floor,
    host::{Host, Noise},
    record::{About, CountRow, Failure, GroupAbout, Left, Record, Row, SCHEMA},
    recorder::{Figures, QUANTILES},
    workload::Measure,
};
use std::{collections::BTreeMap, path::Path};

/// Rates per second of each variant.
const VARIANTS: [(&str, u64); 5] = [
    ("native", 100_000),
    ("classic", 10_000),
    ("uring", 20_000),
    ("shm", 19_000),
    ("a&b <c>", 5_000),
];

/// Workloads and their measures.
const WORKLOADS: [(&str, Measure); 4] = [
    ("stat", Measure::Operations),
    ("stat x2", Measure::Operations),
    ("read stream 1M", Measure::Bytes),
    ("<script>", Measure::Time),
];

/// A run with everything in it.
pub(crate) fn record() -> Record {
    let mut rows = Vec::new();
    let mut counts = Vec::new();
    for group in ["transport", "ablation"] {
        for (workload, measure) in WORKLOADS {
            for (variant, rate) in VARIANTS {
                rows.extend(
                    (0..3)
                        .map(|repetition| row(group, workload, measure, variant, rate, repetition)),
                );
                let counted = variant != "native";
                counts.push(CountRow {
                    group: group.into(),
                    workload: workload.into(),
                    variant: variant.into(),
                    counts: Counts {
                        operations: 10,
                        requests: counted.then_some(20),
                        daemon_calls: counted.then_some(40),
                        answered: (variant == "shm").then_some(10),
                    },
                });
            }
        }
    }
    Record {
        about: about(),
        rows,
        counts,
    }
}

fn row(
    group: &str,
    workload: &str,
    measure: Measure,
    variant: &str,
    rate: u64,
    repetition: usize,
) -> Row {
    let bytes = if measure == Measure::Bytes {
        rate << 16
    } else {
        0
    };
    Row {
        group: group.into(),
        workload: workload.into(),
        measure,
        variant: variant.into(),
        repetition,
        figures: Figures {
            wall_ns: 1_000_000_000,
            operations: rate + rate / 100 * repetition as u64,
            bytes,
            p50_ns: 1_000_000_000 / rate,
            cpu_app_ns: 400_000_000,
            cpu_daemon_ns: 300_000_000,
            ..Figures::default()
        },
        latency_curve_ns: (1..=QUANTILES.len() as u64)
            .map(|n| n * 1_000_000 / rate)
            .collect(),
    }
}

fn about() -> About {
    let group = |name: &str| GroupAbout {
        name: name.into(),
        purpose: format!("What {name} is there to show."),
        variants: VARIANTS
            .iter()
            .map(|(variant, _)| ((*variant).to_owned(), Vec::new()))
            .collect(),
        copies: BTreeMap::from([(
            "read stream 1M".to_owned(),
            BTreeMap::from([("native".to_owned(), 1.0), ("classic".to_owned(), 3.0)]),
        )]),
    };
    About {
        schema: SCHEMA,
        command: "run <x>".into(),
        lower: "ext4".into(),
        repetitions: 3,
        reserved_mib: 0,
        budget_s: 1.0,
        took_s: 60.0,
        spent_s: BTreeMap::from([("timed".into(), 1.0)]),
        host: Host::read(Path::new("/bin/false")),
        noise: Noise::default(),
        floor: Floor {
            system_call_us: 0.1,
            pipe_same_cpu_us: 5.0,
            pipe_other_cpu_us: None,
            futex_same_cpu_us: 5.0,
            futex_other_cpu_us: None,
            memcpy_gib_per_s: 9.0,
        },
        groups: vec![group("transport"), group("ablation")],
        peers: vec!["a&b <c>".into()],
        failures: vec![Failure {
            group: "transport".into(),
            workload: "stat".into(),
            variant: "broken".into(),
            why: "no such thing".into(),
        }],
        left: vec![Left {
            what: "bindfs".into(),
            why: "it is not installed".into(),
        }],
    }
}
