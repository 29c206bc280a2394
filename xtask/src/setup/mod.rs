//! `cargo xtask setup`: installs what building and testing take and is not there yet.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`packages`] | the table of programs, each with its Debian package and its reason |
//! | [`toolchain`] | the eBPF toolchain: where it goes, what it consists of |
//! | [`compiler`] | where its compiler comes from |
//! | [`tools`] | programs for tests and packaging that come from crates.io |
//!
//! It changes nothing but that: no kernel setting, no service, no user's toolchain. Run again, it
//! finds everything there and is done in a moment.

mod compiler;
pub mod packages;
mod toolchain;
pub mod tools;

use std::process::ExitCode;

use anyhow::Result;

use crate::{bpf::recipe::Toolchain, workspace::Workspace};

/// Install what building and testing take: packages, eBPF toolchain
#[derive(Default, clap::Args)]
pub struct Args {
    /// Install nothing; say what is missing, and fail if anything is
    #[arg(long)]
    check: bool,
    /// Where the eBPF toolchain's compiler comes from
    #[arg(
        long,
        default_value = "auto",
        value_name = "auto|debian|rustup|SYSROOT"
    )]
    compiler: compiler::Source,
}

/// Installs what is missing, or says what is.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let missing = packages::missing();
    let toolchain = Toolchain::find(workspace.root());
    if missing.is_empty()
        && tools::are_there()
        && let Some(toolchain) = &toolchain
    {
        println!(
            "setup: everything is there; eBPF toolchain in {}",
            toolchain.dir.display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        for package in &missing {
            println!("missing: {package}");
        }
        if toolchain.is_none() {
            println!(
                "missing: the eBPF toolchain (without it, the kernel programs' object in the repository is used)"
            );
        }
        if !tools::are_there() {
            println!("missing: fsx, for: tests (crates.io)");
        }
        println!("remedy: cargo xtask setup");
        return Ok(ExitCode::FAILURE);
    }
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    if !tools::are_there() {
        tools::install(workspace)?;
    }
    if toolchain.is_none() {
        toolchain::install(workspace, &args.compiler)?;
    }
    Ok(ExitCode::SUCCESS)
}
