//! `demo`: a tree of sources, mounted and worked in.

use super::{conclude, find_shmfuse, say};
use anyhow::{Context, Result, bail, ensure};
use shmfuse_bench::{
    capability::Capabilities,
    catalogue, report, reserve,
    run::{Below, Group, Plan},
    session,
    summary::summarize,
    variant::Variant,
    workloads,
};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

const REPETITIONS: usize = 3;
/// A demonstration that takes longer is none.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Works on a copy of `tree` through every transport, and prints one table.
pub fn demo(tree: &Path, build: Option<String>, shmfuse: Option<PathBuf>) -> Result<ExitCode> {
    ensure!(
        tree.is_dir(),
        "{} is no directory: name a tree of sources",
        tree.display()
    );
    let shmfuse = find_shmfuse(shmfuse)?;
    let build = build.or_else(|| usual_build(tree).map(str::to_owned));
    if build.is_none() {
        eprintln!("shmfuse-bench: no build: neither Cargo.toml nor Makefile (use --build COMMAND)");
    }
    let capabilities = Capabilities::of(&shmfuse)?;
    let names = [
        "native",
        "classic",
        "splice",
        "uring",
        "shm",
        "shm-kernel",
        "classic+passthrough",
        "uring+passthrough",
        "shm+passthrough",
    ];
    let mut workloads = catalogue::demo("tree", build.as_deref());
    let amount = workloads::QUICK;
    workloads.extend(workloads::transport_brief(&amount));
    workloads.extend(workloads::streams(&amount));
    let plan = Plan {
        groups: vec![Group {
            name: "demo".into(),
            purpose: "A tree of sources, mounted and worked in.".into(),
            below: Below::AsTold,
            variants: names
                .iter()
                .filter_map(|name| Variant::parse(name, &capabilities).ok())
                .collect(),
            workloads,
        }],
        repetitions: REPETITIONS,
        repetitions_at_most: REPETITIONS,
        aim: Duration::ZERO,
        limit: LIMIT,
        reserved_bytes: reserve::usual_bytes(),
        budget: Duration::from_millis(100),
    };
    let record = session::carry_out_with(
        &plan,
        &shmfuse,
        session::place("disk")?,
        "demo",
        Vec::new(),
        |lower| copy_tree(tree, &lower.join("tree")),
    )?;
    say(report::table(&summarize(&record)));
    println!(
        "rate: median of {REPETITIONS} repetitions, interleaved; ratio: to native, with its 95 % \
         interval;\np50, p99: latency of one call or command; CPU: application and daemon."
    );
    Ok(conclude(&record))
}

/// Copies a tree with git where it is a repository (what is tracked, and history), else whole.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut copy = if from.join(".git").exists() {
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--no-hardlinks"])
            .args([from, to]);
        git
    } else {
        let mut cp = Command::new("cp");
        cp.args(["-a", "--"]).args([from, to]);
        cp
    };
    let status = copy
        .stdin(Stdio::null())
        .status()
        .context("cannot copy the tree")?;
    if !status.success() {
        bail!("copying {} failed ({status})", from.display());
    }
    Ok(())
}

/// How a tree is usually built, without anything from the network.
fn usual_build(tree: &Path) -> Option<&'static str> {
    if tree.join("Cargo.toml").exists() && tree.join("transport").is_dir() {
        Some("CARGO_TARGET_DIR=\"$SCRATCH\" cargo build --quiet --offline -p transport")
    } else if tree.join("Cargo.toml").exists() {
        Some("CARGO_TARGET_DIR=\"$SCRATCH\" cargo build --quiet --offline")
    } else if tree.join("Makefile").exists() {
        Some("make --silent clean all")
    } else {
        None
    }
}
