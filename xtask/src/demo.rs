//! `cargo xtask demo`: from a clone to a table, and `cargo xtask bench`: the comparison in full.
//!
//! Both install what is missing, build in release mode and hand over to `shmfuse-bench`.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::{process, setup, workspace::Workspace};

/// Mount a tree of sources through every transport, work in it, and compare
#[derive(clap::Args)]
pub struct DemoArgs {
    /// The tree; it is copied, not changed [default: this repository]
    tree: Option<PathBuf>,
    /// Shell command that builds the tree [default: found out]
    #[arg(long)]
    build: Option<OsString>,
}

/// Compare every way to mount a directory; arguments are those of `shmfuse-bench run`
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct BenchArgs {
    /// What `shmfuse-bench run` is to be told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds, and runs the demonstration.
pub fn demo(workspace: &Workspace, args: &DemoArgs) -> Result<ExitCode> {
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

/// Builds, and runs the comparison.
pub fn bench(workspace: &Workspace, args: &BenchArgs) -> Result<ExitCode> {
    let words: Vec<OsString> = std::iter::once("run".into())
        .chain(args.arguments.iter().cloned())
        .collect();
    hand_over(workspace, &words)
}

fn hand_over(workspace: &Workspace, words: &[OsString]) -> Result<ExitCode> {
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
