//! Variants and workloads by name.

use crate::{
    variant::Variant,
    workload::{
        Workload,
        command::Shell,
        data::{Direction, RandomRead, Stream},
        fio::Fio,
        metadata::{CreateUnlink, OpenReadClose, Stat, Walk},
    },
};
use anyhow::{Result, bail};

const MIB: u64 = 1 << 20;

/// The transports, slowest first.
pub const TRANSPORTS: [&str; 4] = ["classic", "splice", "uring", "shm"];

/// A variant of ours by name: `native`, or `TRANSPORT[+passthrough][@ttl=SECONDS]`. Without
/// `@` timeouts are 0, without `+` data goes through the daemon.
///
/// # Errors
///
/// If there is no such transport or suffix; the message lists them.
pub fn variant(name: &str) -> Result<Variant> {
    if name == "native" {
        return Ok(Variant::native());
    }
    let (rest, cache) = name.split_once('@').unwrap_or((name, "strict"));
    let (transport, data) = rest.split_once('+').unwrap_or((rest, "copy"));
    if !TRANSPORTS.contains(&transport)
        || !["copy", "passthrough"].contains(&data)
        || !(cache == "strict" || cache.starts_with("ttl="))
    {
        bail!(
            "no variant {name}: native, or one of {} with +passthrough and @ttl=SECONDS as wanted",
            TRANSPORTS.join(", ")
        );
    }
    // Everything that is not measured is the same on every variant.
    let mut options = vec!["--transport", transport, "--data", data, "--cache", cache];
    options.extend(["-o", "allow_other"]);
    Ok(Variant::ours(name, &options))
}

/// The variants of the first comparison: native, then each transport with data copied, then each
/// with data past the daemon.
pub fn variants() -> Vec<Variant> {
    [
        "native",
        "classic",
        "splice",
        "uring",
        "shm",
        "classic+passthrough",
        "uring+passthrough",
        "shm+passthrough",
    ]
    .iter()
    .map(|name| variant(name).expect("the names are the catalogue's own"))
    .collect()
}

/// How much of each workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A minute or two for everything.
    Quick,
    /// The figures that count.
    Full,
}

/// The workloads of the first comparison.
pub fn workloads(scale: Scale) -> Vec<Box<dyn Workload>> {
    let (files, file_bytes) = match scale {
        Scale::Quick => (1000, 128 * MIB),
        Scale::Full => (5000, 1024 * MIB),
    };
    let stream = |direction, block_bytes| Stream {
        direction,
        file_bytes,
        block_bytes,
    };
    vec![
        Box::new(Stat {
            files,
            rounds: 2,
            threads: 1,
        }),
        Box::new(Stat {
            files,
            rounds: 1,
            threads: 2,
        }),
        Box::new(OpenReadClose { files }),
        Box::new(CreateUnlink { files: files / 2 }),
        Box::new(Walk { files: files * 2 }),
        Box::new(stream(Direction::Read, 128 << 10)),
        Box::new(stream(Direction::Read, 1 << 20)),
        Box::new(stream(Direction::Write, 128 << 10)),
        Box::new(stream(Direction::Write, 1 << 20)),
        Box::new(RandomRead {
            file_bytes,
            block_bytes: 4096,
            calls: files,
        }),
    ]
}

/// Data by fio: block sizes, both ways, in order and at random, buffered and direct.
pub fn fio_workloads(scale: Scale) -> Vec<Box<dyn Workload>> {
    let file_bytes = match scale {
        Scale::Quick => 64 * MIB,
        Scale::Full => 512 * MIB,
    };
    let job = Fio {
        rw: "read",
        block_bytes: 4 << 10,
        file_bytes,
        direct: false,
        depth: 1,
        jobs: 1,
        mmap: false,
        io_bytes: file_bytes,
    };
    // fio counts milliseconds: what is fast must move much, what is slow need not.
    let few = file_bytes / 16;
    let mut jobs = Vec::new();
    for rw in ["read", "write"] {
        for block_bytes in [4 << 10, 128 << 10, 1 << 20] {
            let io_bytes = if block_bytes == 4 << 10 {
                few
            } else {
                file_bytes
            };
            jobs.push(Fio {
                rw,
                block_bytes,
                io_bytes,
                ..job.clone()
            });
        }
        jobs.push(Fio {
            rw,
            block_bytes: 1 << 20,
            direct: true,
            ..job.clone()
        });
    }
    for rw in ["randread", "randwrite"] {
        jobs.push(Fio { rw, ..job.clone() });
        for depth in [1, 32] {
            jobs.push(Fio {
                rw,
                direct: true,
                depth,
                io_bytes: few,
                ..job.clone()
            });
        }
    }
    jobs.push(Fio {
        rw: "randread",
        mmap: true,
        io_bytes: few,
        ..job
    });
    jobs.into_iter()
        .map(|job| Box::new(job) as Box<dyn Workload>)
        .collect()
}

/// What the demonstration does on a tree of sources in the folder `tree`.
pub fn tree_workloads(build: Option<&str>) -> Vec<Box<dyn Workload>> {
    let mut shells = Shell::usual("tree");
    shells.extend(build.map(|script| Shell {
        name: "build".into(),
        script: script.into(),
        folder: "tree".into(),
    }));
    shells
        .into_iter()
        .map(|shell| Box::new(shell) as Box<dyn Workload>)
        .collect()
}

/// Whether `name` is wanted by `--only`: no filter wants all, else one is a part of it.
pub fn wanted(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::How;

    #[test]
    fn a_name_says_transport_data_and_cache() {
        let How::Shmfuse(options) = variant("uring+passthrough@ttl=1").unwrap().how else {
            panic!("ours")
        };
        let text = options.join(" ");
        assert!(text.contains("--transport uring"), "{text}");
        assert!(text.contains("--data passthrough"), "{text}");
        assert!(text.contains("--cache ttl=1"), "{text}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        for name in ["carrier-pigeon", "uring+wings", "uring@forever"] {
            let error = variant(name).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("splice"), "{error}");
        }
    }

    #[test]
    fn workloads_have_names_of_their_own() {
        let mut names: Vec<String> = workloads(Scale::Full).iter().map(|w| w.name()).collect();
        names.extend(fio_workloads(Scale::Full).iter().map(|w| w.name()));
        names.extend(tree_workloads(Some("make")).iter().map(|w| w.name()));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
