//! `cargo xtask verify`: the models of the ring protocol.
//!
//! Builds `verify` on the model checker's types, into a target folder of its own (the flag would
//! make cargo build everything anew otherwise), and hands over to it.

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;

use crate::{process, workspace::Workspace};

/// Model-check the ring protocol: all models and mutants, or what the arguments name
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// `--quick` (smaller bounds), `--model NAME`, `--mutants`, `--mutant NAME`, `--list`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds the models and runs them.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let target = workspace.target().join("models");
    process::run(
        workspace
            .cargo()
            .args(["build", "--quiet", "--locked", "--package", "verify"])
            .args(["--profile", "loom"])
            .env("RUSTFLAGS", "--cfg shmfuse_loom")
            .env("CARGO_TARGET_DIR", &target),
    )?;
    let status = workspace
        .command(target.join("loom/verify"))
        .args(&args.arguments)
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
