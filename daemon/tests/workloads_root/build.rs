//! A build by cargo: many small files, locks, hard links, executables run from the mount.

use crate::common::{TestMount, shell::output};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn cargo(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).arg("--offline").current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_the_outer_build = (name.starts_with("CARGO_") && name != "CARGO_HOME")
            || ["RUSTFLAGS", "RUSTC_WRAPPER", "LD_LIBRARY_PATH", "NEXTEST"].contains(&&*name);
        if of_the_outer_build {
            command.env_remove(name);
        }
    }
    let output = output(&mut command);
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn cargo_builds_runs_and_finds_nothing_to_rebuild(mount: &TestMount) {
    for dir in [mount.path(), mount.plain()] {
        fs::create_dir(dir.join("src")).unwrap();
        let files = [
            (
                "Cargo.toml",
                "[package]\nname = 'sum'\nversion = '0.1.0'\nedition = '2024'\n[workspace]\n",
            ),
            (
                "src/lib.rs",
                "pub fn sum(n: u64) -> u64 { (1..=n).sum() }\n#[test] fn sums() { assert_eq!(sum(3), 6) }\n",
            ),
            (
                "src/main.rs",
                "include!(concat!(env!(\"OUT_DIR\"), \"/n.rs\"));\nfn main() { println!(\"{}\", sum::sum(N)) }\n",
            ),
            (
                "build.rs",
                "fn main() { std::fs::write(format!(\"{}/n.rs\", std::env::var(\"OUT_DIR\").unwrap()), \"const N: u64 = 100;\").unwrap(); println!(\"cargo:rerun-if-changed=build.rs\") }\n",
            ),
        ];
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
        let run = cargo(dir, &["run"]);
        assert_eq!(run.stdout, b"5050\n");
        let again = String::from_utf8(cargo(dir, &["build"]).stderr).unwrap();
        assert!(
            !again.contains("Compiling"),
            "a second build compiles again:\n{again}"
        );
    }
    let [on_mount, on_plain] = [mount.path(), mount.plain()].map(|dir| {
        let fingerprints = dir.join("target/debug/.fingerprint");
        crate::common::tree::names(&fingerprints).len()
    });
    assert_eq!(on_mount, on_plain);
}

for_every_variant_and_writeback!(on_mount, [cargo_builds_runs_and_finds_nothing_to_rebuild]);
