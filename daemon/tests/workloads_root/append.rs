//! Many processes append to one file.

use crate::common::{TestMount, bash};
use std::{collections::BTreeMap, fs};

const LINES: u32 = 500;

fn eight_processes_appending_to_one_file_lose_no_line(mount: &TestMount) {
    bash(
        mount.path(),
        &format!(
            "for p in 1 2 3 4 5 6 7 8; do
                 (exec >>log; for ((i = 0; i < {LINES}; i++)); do echo \"$p $i\"; done) &
                 pids+=($!)
             done
             for pid in \"${{pids[@]}}\"; do wait $pid; done"
        ),
    );
    for dir in [mount.path(), mount.lower()] {
        let log = fs::read_to_string(dir.join("log")).unwrap();
        let mut next: BTreeMap<u32, u32> = BTreeMap::new();
        for line in log.lines() {
            let (process, number) = line.split_once(' ').expect("a whole line");
            let expected = next.entry(process.parse().unwrap()).or_default();
            assert_eq!(
                number.parse::<u32>().unwrap(),
                *expected,
                "lines of process {process}"
            );
            *expected += 1;
        }
        assert!(
            next.len() == 8 && next.values().all(|&lines| lines == LINES),
            "{next:?}"
        );
    }
}

for_every_variant_and_writeback!(
    on_mount,
    [eight_processes_appending_to_one_file_lose_no_line]
);
