//! The steps of `cargo xtask test`, in their order. To have something checked in CI, add a row.

use std::time::Duration;

/// One row: a command, and what is expected of it.
pub struct Step {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub what: &'static str,
    /// What is run.
    pub action: Action,
    /// How long it may take, in minutes, on a busy machine with cold caches; then it is killed.
    pub limit_minutes: u64,
}

impl Step {
    /// The time after which it is killed.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(60 * self.limit_minutes)
    }
}

/// What a step runs.
pub enum Action {
    /// A task of ours: the words behind `cargo xtask`.
    Xtask(&'static [&'static str]),
    /// Cargo: the words behind `cargo`.
    Cargo(&'static [&'static str]),
    /// Tests that run anywhere: the words that select them, behind `cargo test` or `cargo nextest
    /// run`. Those marked `#[ignore = "root"]` are left to the steps below.
    Tests(&'static [&'static str]),
    /// Those marked `#[ignore = "root"]` of these test programs: mounts and kernel programs. With mounts of
    /// their own (a mount namespace), which are gone when the step is.
    RootTests(&'static [&'static str]),
}

use Action::{Cargo, RootTests, Tests, Xtask};

/// All of them, fast to slow.
pub const STEPS: &[Step] = &[
    Step {
        name: "setup",
        what: "what building and testing take is there",
        action: Xtask(&["setup"]),
        limit_minutes: 20,
    },
    Step {
        name: "fmt",
        what: "the layout of the workspace's code",
        action: Cargo(&["fmt", "--all", "--check"]),
        limit_minutes: 2,
    },
    Step {
        name: "fmt-bpf",
        what: "the layout of the kernel programs' code",
        action: Cargo(&["fmt", "--manifest-path", "ebpf/Cargo.toml", "--check"]),
        limit_minutes: 2,
    },
    Step {
        name: "tidy",
        what: "house rules",
        action: Xtask(&["tidy"]),
        limit_minutes: 2,
    },
    Step {
        name: "clippy",
        what: "lints of the workspace",
        action: Cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-Dwarnings",
        ]),
        limit_minutes: 20,
    },
    Step {
        name: "clippy-bpf",
        what: "lints of the kernel programs, as the host's clippy sees them",
        action: Cargo(&[
            "clippy",
            "--manifest-path=ebpf/Cargo.toml",
            "--target-dir=target/bpf-clippy",
            "--locked",
            "--",
            "-Dwarnings",
        ]),
        limit_minutes: 10,
    },
    Step {
        name: "bpf",
        what: "the kernel programs build, without a panic, to the object in the repository",
        action: Xtask(&["bpf", "--check"]),
        limit_minutes: 15,
    },
    Step {
        name: "host",
        what: "tests that run anywhere",
        action: Tests(&["--workspace", "--all-targets"]),
        limit_minutes: 30,
    },
    Step {
        name: "verify",
        what: "the ring protocol, by models, and that each model fails where it must",
        action: Xtask(&["verify", "--quick"]),
        limit_minutes: 20,
    },
    Step {
        name: "doc",
        what: "examples in the documentation",
        action: Cargo(&["test", "--workspace", "--locked", "--doc"]),
        limit_minutes: 10,
    },
    Step {
        name: "package",
        what: "the Debian package: made, installed for a try, mounted by, removed; cargo install",
        action: Xtask(&["package", "--dev", "--check"]),
        limit_minutes: 20,
    },
    Step {
        name: "bpf-root",
        what: "the kernel programs in the running kernel",
        action: RootTests(&["bpf_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "serve",
        what: "the transports on mounts of a file system made for it",
        action: RootTests(&["serve_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "uring",
        what: "the uring transport, down to its ring entries",
        action: RootTests(&["uring_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "locks",
        what: "locks between processes, above and below mounts",
        action: RootTests(&["locks_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "data",
        what: "open files on mounts: modes, status flags, limits, attributes",
        action: RootTests(&["data_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "workloads",
        what: "real work on mounts, compared with a plain directory",
        action: RootTests(&["workloads_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "differential",
        what: "random operations on mounts and on a plain directory, step by step",
        action: RootTests(&["differential_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "fsx",
        what: "the file system exerciser on mounts",
        action: RootTests(&["fsx_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "nodes",
        what: "inodes, names and listings on mounts",
        action: RootTests(&["nodes_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "sharing",
        what: "one mount shared by threads, users, and changes from below",
        action: RootTests(&["sharing_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "coherence",
        what: "changes below the mount: every kind, lost reports, two mounts, at random",
        action: RootTests(&["coherence_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "transform",
        what: "owners, modes and ACLs that are shown otherwise than they are below",
        action: RootTests(&["transform_root"]),
        limit_minutes: 5,
    },
    Step {
        name: "requests",
        what: "which requests the kernel sends, and privileges of files that are written",
        action: RootTests(&["requests_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "lifecycle",
        what: "how mounts begin and end, and what they survive",
        action: RootTests(&["lifecycle_root"]),
        limit_minutes: 25,
    },
    Step {
        name: "faults",
        what: "a mount whose shared memory is written to by others, or that loses what it stands on",
        action: RootTests(&["faults_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "pressure",
        what: "many processes against few slots, and mounts beside each other",
        action: RootTests(&["pressure_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "command",
        what: "the command on real mounts: as a daemon, by mount(8), without privilege; a panic",
        action: RootTests(&["command_root", "select_root", "panic_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "security",
        what: "what docs/security.md claims: privileges, reach, ways out, users",
        action: RootTests(&["security_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "reliability",
        what: "faults of the lower file system, of resources and of the daemon",
        action: RootTests(&["reliability_root", "supervise_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "docs",
        what: "the commands in the documents, run as they stand there",
        action: RootTests(&["docs_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "observe",
        what: "what an operator sees of mounts: trace, top, metrics",
        action: RootTests(&["observe_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "soak",
        what: "mixed load on mounts",
        action: RootTests(&["soak_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "answers",
        what: "what kernel programs answer is what is below, and counted",
        action: RootTests(&["answers_root"]),
        limit_minutes: 15,
    },
    Step {
        name: "rules",
        what: "requests refused, limited, counted and sent to the lane for bulk, on each transport",
        action: RootTests(&["rules_root"]),
        limit_minutes: 10,
    },
    Step {
        name: "invariants",
        what: "the ring protocol's counters under random load on the real kernel",
        action: RootTests(&["invariants_root"]),
        limit_minutes: 10,
    },
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn names_are_unique() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(
                STEPS[..index].iter().all(|other| other.name != step.name),
                "{}",
                step.name
            );
        }
    }

    #[test]
    fn every_root_test_of_the_daemon_has_a_step() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/tests");
        for entry in fs::read_dir(tests).expect("the daemon has tests").flatten() {
            let name = entry
                .file_name()
                .to_string_lossy()
                .trim_end_matches(".rs")
                .to_owned();
            let has_step = STEPS.iter().any(|step| match step.action {
                RootTests(programs) => programs.contains(&&*name),
                _ => false,
            });
            assert!(
                has_step || !name.ends_with("_root"),
                "no step runs daemon/tests/{name}"
            );
        }
    }
}
