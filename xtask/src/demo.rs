//! `cargo xtask demo`: from a clone to a table.
//!
//! Installs what is missing, builds in release mode and hands over to `shmfuse-bench`.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::{process, setup, workspace::Workspace};

/// Mount a tree of sources through every transport, work in it, and compare
#[derive(clap::Args)]
pub struct Args {
    /// The tree; it is copied, not changed [default: this repository]
    tree: Option<PathBuf>,
    /// Shell command that builds the tree [default: found out]
    #[arg(long)]
    build: Option<OsString>,
}

/// Builds, and runs the demonstration.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let tree = args
        .tree
        .clone()
        .unwrap_or_else(|| workspace.root().to_owned());
    let mut words = vec!["demo".into(), tree.into_os_string()];
    if let Some(build) = &args.build {
        words.extend(["--build".into(), build.clone()]);
    }
    hand_over(workspace, &words)
}

/// Installs what is missing, builds in release mode, and runs `shmfuse-bench` with these words.
pub(crate) fn hand_over(workspace: &Workspace, words: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, &setup::Args::default())?;
    let packages = ["--package", "shmfuse", "--package", "shmfuse-bench"];
    process::run(
        workspace
            .cargo()
            .args(["build", "--release", "--locked"])
            .args(packages),
    )?;
    let program = workspace.target().join("release/shmfuse-bench");
    process::run(workspace.command(program).args(words))?;
    Ok(ExitCode::SUCCESS)
}
