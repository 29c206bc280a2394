//! The groups of `--comparison`: ours by its own choice, with each setting fixed, libfuse's
//! passthrough_hp and native, on everything that a file's bytes can be asked for.

use crate::{
    run::{Below, Group},
    variant::Variant,
    workload::{
        Direction, Workload,
        batch::{MakeAll, OpenAll},
        cell::{Cell, Way},
        fio::Fio,
        lanes::{self, Lanes},
    },
};

/// Ours as it is mounted by default: the data path is chosen for each file.
pub const AUTO: &str = "shm+auto@coherent";

/// Ours with the same caches and one data path for all files.
pub const FIXED: [&str; 2] = ["shm+passthrough@coherent", "shm@coherent"];

/// Ours where opening a file sends no request.
pub const NO_OPEN: &str = "shm+auto@coherent~no-open";

/// Ours where the kernel keeps the locks of fcntl(2) by itself, as it does for libfuse's passthrough_hp.
pub const OWN_LOCKS: &str = "shm+auto@coherent~locks=mount";

/// Ours without kernel programs.
pub const PRIVATE: &str = "uring+auto@ttl=1";

/// Names of the groups about bytes begin with this, then says where the lower directory is.
pub const CELLS: &str = "cells, ";

/// Names of the groups that mix kinds of work on one mount begin with this.
pub const MIX: &str = "mix, ";

/// The group about slow files.
pub const LANES: &str = "lanes";

/// Where lower directories are, as groups are named for it.
pub const PLACES: [(&str, Below); 2] = [("disk", Below::AsTold), ("tmpfs", Below::Memory)];

/// Sizes of calls, in KiB.
const SIZES_KIB: [usize; 3] = [4, 64, 1024];

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

/// Small files that are opened and read.
pub const OPENED: usize = 10_000;
/// Small files that are made and unlinked.
pub const MADE: usize = 20_000;

/// All groups; `ours` gives those of the named variants that the installed `shmfuse` knows.
pub fn groups(ours: impl Fn(&[&str]) -> Vec<Variant>, peers: &[Variant]) -> Vec<Group> {
    let variants = |more: &[&str]| {
        let names = [&["native", AUTO], &FIXED[..], more].concat();
        let mut variants = ours(&names);
        variants.extend(peers.iter().cloned());
        variants
    };
    let mut groups = Vec::new();
    for (place, below) in PLACES {
        groups.push(Group {
            name: format!("{CELLS}{place}"),
            purpose:
                "Bytes: in order and at random, in and out, 4 KiB to 1 MiB a call, 1 to 4 jobs, \
                      through the page cache and past it, from memory and from the disk."
                    .into(),
            below,
            variants: variants(&[PRIVATE]),
            workloads: cells(below),
        });
        groups.push(Group {
            name: format!("{MIX}{place}"),
            purpose: "Small files, large ones, random access and mmap on one mount.".into(),
            below,
            variants: variants(&[NO_OPEN, OWN_LOCKS, PRIVATE]),
            workloads: mix(),
        });
    }
    let delay = lanes::DELAY;
    let slow: Vec<String> = ["shm", "uring"]
        .iter()
        .flat_map(|transport| {
            let lanes = format!("{transport}~lower-delay={delay}");
            [lanes.clone(), format!("{lanes}~slow-after=0s")]
        })
        .collect();
    let slow: Vec<&str> = slow.iter().map(String::as_str).collect();
    groups.push(Group {
        name: LANES.into(),
        purpose: "Attributes of files while others wait for a file with 50 ms for each operation: \
                  slow requests beside their queue, and one thread for each queue \
                  (~slow-after=0s)."
            .into(),
        below: Below::AsTold,
        variants: ours(&slow),
        workloads: [false, true]
            .into_iter()
            .map(|slow| Box::new(Lanes { slow }) as Box<dyn Workload>)
            .collect(),
    });
    groups.retain(|group| !group.variants.is_empty());
    groups
}

/// What is asked for of a large file. In memory nothing is cold, for tmpfs keeps its pages.
fn cells(below: Below) -> Vec<Box<dyn Workload>> {
    let (read, write) = (Direction::Read, Direction::Write);
    let mut cells = Vec::new();
    let mut add = |way: Way, file_bytes: u64, directions: &[Direction], jobs: &[usize]| {
        for &direction in directions {
            for random in [false, true] {
                for kib in SIZES_KIB {
                    cells.extend(jobs.iter().map(|&jobs| Cell {
                        direction,
                        random,
                        block_bytes: kib * KIB,
                        jobs,
                        way,
                        file_bytes,
                    }));
                }
            }
        }
    };
    // What passes the page cache comes last: it would empty it.
    add(Way::Warm, 256 * MIB, &[read, write], &[1, 2, 4]);
    if below == Below::AsTold {
        add(Way::Cold, 128 * MIB, &[read], &[1, 4]);
    }
    add(Way::Direct, 128 * MIB, &[read, write], &[1, 4]);
    cells
        .into_iter()
        .map(|cell| Box::new(cell) as Box<dyn Workload>)
        .collect()
}

/// One of each kind of work.
fn mix() -> Vec<Box<dyn Workload>> {
    let cell = |direction, random, kib: usize| {
        Box::new(Cell {
            direction,
            random,
            block_bytes: kib * KIB,
            jobs: 1,
            way: Way::Warm,
            file_bytes: 256 * MIB,
        })
    };
    vec![
        Box::new(OpenAll { files: OPENED }),
        Box::new(MakeAll { files: MADE }),
        cell(Direction::Read, false, 1024),
        cell(Direction::Write, false, 1024),
        cell(Direction::Read, true, 4),
        cell(Direction::Write, true, 4),
        Box::new(Fio {
            rw: "randread",
            block_bytes: 4 << 10,
            file_bytes: 256 * MIB,
            direct: false,
            depth: 1,
            jobs: 1,
            mmap: true,
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capability::fake, peers::Peer};

    #[test]
    fn every_size_order_direction_and_way_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let options = [
            ("transport", "uring shm"),
            ("data", "copy passthrough auto"),
            ("cache", "strict coherent ttl="),
            ("lower-delay", "50ms"),
            ("slow-after", "0s"),
        ];
        let capabilities = fake(dir.path(), &options);
        let ours = |names: &[&str]| -> Vec<Variant> {
            let known = names
                .iter()
                .filter_map(|name| Variant::parse(name, &capabilities).ok());
            known.collect()
        };
        let peers: Vec<Variant> = Peer::parse(crate::peers::LIBFUSE)
            .unwrap()
            .iter()
            .map(Peer::variant)
            .collect();
        let groups = groups(ours, &peers);
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let all = [
            "cells, disk",
            "mix, disk",
            "cells, tmpfs",
            "mix, tmpfs",
            LANES,
        ];
        assert_eq!(names, all);
        assert_eq!(
            (groups[0].workloads.len(), groups[2].workloads.len()),
            (72, 60)
        );
        for (variants, more) in [(&groups[0].variants, 7), (&groups[4].variants, 4)] {
            assert_eq!(variants.len(), more);
        }
    }
}
