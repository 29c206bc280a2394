//! The workloads of each group, in two sizes.

use crate::workload::{
    Direction, Start, Workload,
    blocks::Blocks,
    command::{Shell, Tree},
    fio::Fio,
    listing::{ReadDir, Walk},
    names::{Attributes, Question, Rename},
    small::{CreateUnlink, OpenReadClose},
    stream::Stream,
};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

/// Sizes of what is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Names that are asked for, one after the other.
    pub names: usize,
    /// Small files that are opened and read.
    pub small_files: usize,
    /// Small files that are made, at most.
    pub made_files: usize,
    /// Entries of the large directory.
    pub entries: usize,
    /// Files of the tree that is walked.
    pub walked_files: usize,
    /// Files of the tree of sources.
    pub tree_files: usize,
    /// Length of the file that is streamed, in bytes.
    pub stream_bytes: u64,
    /// Length of fio's file, in bytes.
    pub fio_bytes: u64,
    /// Whether every size, depth and number of threads is tried, or a choice.
    pub every: bool,
}

/// A quick run's.
pub const QUICK: Amount = Amount {
    names: 1000,
    small_files: 500,
    made_files: 1000,
    entries: 5000,
    walked_files: 1000,
    tree_files: 300,
    stream_bytes: 128 * MIB,
    fio_bytes: 64 * MIB,
    every: false,
};

/// A full run's.
pub const FULL: Amount = Amount {
    // As many as a warm-up gets through on the slowest variant.
    names: 1000,
    small_files: 500,
    made_files: 20_000,
    entries: 50_000,
    walked_files: 5000,
    tree_files: 1000,
    stream_bytes: 512 * MIB,
    fio_bytes: 256 * MIB,
    every: true,
};

type Work = Vec<Box<dyn Workload>>;

fn boxed<W: Workload + 'static>(workload: W) -> Box<dyn Workload> {
    Box::new(workload)
}

fn ask(amount: &Amount, question: Question, threads: usize) -> Attributes {
    Attributes {
        question,
        files: amount.names,
        threads,
        start: Start::Warm,
    }
}

/// Threads from one to twice the CPUs, at least four: 1, 2, 4, ...
fn threads(amount: &Amount) -> Vec<usize> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let most = if amount.every { (2 * cpus).max(4) } else { 2 };
    std::iter::successors(Some(1), |threads| Some(threads * 2))
        .take_while(|&threads| threads <= most)
        .collect()
}

/// Requests without and with payload, by one thread and by many.
pub fn transport(amount: &Amount) -> Work {
    let mut work: Work = Vec::new();
    for question in [Question::Stat, Question::Fstat] {
        for threads in threads(amount) {
            work.push(boxed(ask(amount, question, threads)));
        }
    }
    work.push(boxed(ask(amount, Question::Absent, 1)));
    let sizes: &[usize] = if amount.every {
        &[4, 16, 64, 256, 1024]
    } else {
        &[4, 1024]
    };
    for direction in [Direction::Read, Direction::Write] {
        for &kib in sizes {
            work.push(boxed(Blocks {
                direction,
                file_bytes: amount.stream_bytes,
                block_bytes: kib * KIB,
                threads: 1,
            }));
        }
    }
    for threads in threads(amount).into_iter().skip(1) {
        work.push(boxed(Blocks {
            direction: Direction::Read,
            file_bytes: amount.stream_bytes,
            block_bytes: 4 * KIB,
            threads,
        }));
    }
    work
}

/// The few that a disturbed transport is tried with.
pub fn transport_brief(amount: &Amount) -> Work {
    vec![
        boxed(ask(amount, Question::Stat, 1)),
        boxed(OpenReadClose {
            files: amount.small_files,
        }),
    ]
}

fn stream(amount: &Amount, direction: Direction, kib: usize) -> Stream {
    Stream {
        direction,
        file_bytes: amount.stream_bytes,
        block_bytes: kib * KIB,
        cold: false,
    }
}

/// A large file from front to back.
pub fn streams(amount: &Amount) -> Work {
    let sizes: &[usize] = if amount.every {
        &[4, 128, 1024]
    } else {
        &[1024]
    };
    let mut work: Work = Vec::new();
    for direction in [Direction::Read, Direction::Write] {
        for &kib in sizes {
            work.push(boxed(stream(amount, direction, kib)));
        }
    }
    if amount.every {
        work.push(boxed(Stream {
            cold: true,
            file_bytes: amount.stream_bytes / 2,
            ..stream(amount, Direction::Read, 1024)
        }));
    }
    work
}

/// Data by fio.
pub fn fio(amount: &Amount) -> Work {
    let job = Fio {
        rw: "read",
        block_bytes: 4 << 10,
        file_bytes: amount.fio_bytes,
        direct: false,
        depth: 1,
        jobs: 1,
        mmap: false,
    };
    let mut jobs = Vec::new();
    let all = ["read", "write", "randread", "randwrite"];
    if !amount.every {
        for rw in ["randread", "write"] {
            jobs.push(Fio { rw, ..job.clone() });
        }
        return jobs.into_iter().map(boxed).collect();
    }
    for rw in all {
        for kib in [4, 128, 1024] {
            // At random, large blocks are as good as in order.
            if rw.starts_with("rand") && kib > 4 {
                continue;
            }
            let block_bytes = kib << 10;
            jobs.push(Fio {
                rw,
                block_bytes,
                ..job.clone()
            });
        }
    }
    for rw in all {
        for (kib, depth) in [(4, 1), (4, 32), (1024, 1), (128, 32)] {
            // Past the page cache: small blocks at random, large ones in order.
            if rw.starts_with("rand") != (kib == 4) {
                continue;
            }
            jobs.push(Fio {
                rw,
                block_bytes: kib << 10,
                depth,
                direct: true,
                ..job.clone()
            });
        }
    }
    for rw in ["read", "randread", "randwrite"] {
        jobs.push(Fio {
            rw,
            mmap: true,
            ..job.clone()
        });
    }
    jobs.push(Fio {
        rw: "randread",
        jobs: 4,
        ..job
    });
    jobs.into_iter().map(boxed).collect()
}

/// Names, directories, small files.
pub fn metadata(amount: &Amount) -> Work {
    let mut work = small(amount);
    work.push(boxed(Walk {
        files: amount.walked_files,
        start: Start::FreshMount,
    }));
    work
}

fn small(amount: &Amount) -> Work {
    vec![
        boxed(OpenReadClose {
            files: amount.small_files,
        }),
        boxed(CreateUnlink {
            files: amount.made_files,
            write: true,
        }),
        boxed(CreateUnlink {
            files: amount.made_files,
            write: false,
        }),
        boxed(Rename),
        boxed(ReadDir {
            files: amount.entries,
        }),
        boxed(Walk {
            files: amount.walked_files,
            start: Start::Warm,
        }),
    ]
}

/// What is done beside other file systems.
pub fn peers(amount: &Amount) -> Work {
    let mut work: Work = vec![boxed(ask(amount, Question::Stat, 1))];
    // What is not in caches is the same work as with timeouts 0.
    work.extend(small(amount).into_iter().filter(|workload| {
        let name = workload.name();
        !["create+unlink", "rename"].contains(&name.as_str())
    }));
    for direction in [Direction::Read, Direction::Write] {
        work.push(boxed(stream(amount, direction, 1024)));
    }
    work.push(boxed(stream(amount, Direction::Write, 4)));
    work.push(boxed(Blocks {
        direction: Direction::Read,
        file_bytes: amount.stream_bytes,
        block_bytes: 4 * KIB,
        threads: 1,
    }));
    work
}

/// What shows the stages, one each at least.
pub fn ablation(amount: &Amount) -> Work {
    let tree = Tree::Made {
        files: amount.tree_files,
    };
    let mut work: Work = vec![
        boxed(ask(amount, Question::Stat, 1)),
        boxed(OpenReadClose {
            files: amount.small_files,
        }),
        boxed(stream(amount, Direction::Write, 4)),
    ];
    let find = Shell::daily(&tree)
        .into_iter()
        .filter(|shell| amount.every && shell.name == "find -ls");
    work.extend(find.map(|shell| {
        boxed(Shell {
            takes: Duration::from_millis(300),
            ..shell.first()
        })
    }));
    if amount.every {
        work.push(boxed(Fio {
            rw: "read",
            block_bytes: 4 << 10,
            file_bytes: amount.fio_bytes,
            direct: true,
            depth: 32,
            jobs: 1,
            mmap: false,
        }));
        work.push(boxed(CreateUnlink {
            files: amount.made_files,
            write: true,
        }));
    }
    work
}
