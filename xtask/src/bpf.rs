//! `cargo xtask bpf`: the eBPF object in the repository, for builds without an eBPF toolchain.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::{process::SKIPPED, workspace::Workspace};

#[path = "../../ebpf/recipe.rs"]
pub mod recipe;

use recipe::{Prebuilt, Sources, Toolchain};

/// Build the kernel programs; check or renew their object in the repository
#[derive(clap::Args)]
pub struct Args {
    /// Fail unless the object in the repository is what the sources build to
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Put what the sources build to into the repository
    #[arg(long)]
    update: bool,
}

/// Builds the object and does with it what was asked for.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let root = workspace.root();
    let toolchain =
        Toolchain::find(root).context("no eBPF toolchain (remedy: cargo xtask setup)")?;
    let path = toolchain.build(root, &workspace.target().join("bpf"))?;
    let object = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        !contains(&object, b"panicking"),
        "a panic is left in {}, which the verifier would refuse: use get(), masks, checked \
         arithmetic (llvm-nm names the functions that call core::panicking)",
        path.display()
    );

    let prebuilt = Prebuilt::of(root);
    let sources = Sources::of(root)?;
    let compiler = compiler(&toolchain)?;
    if args.update {
        let made_from = format!("{sources}\n{compiler}\n");
        write(&prebuilt.object, &object)?;
        write(&prebuilt.made_from, made_from.as_bytes())?;
    }
    if args.check {
        return check(&prebuilt, &sources, &compiler, &object);
    }
    println!(
        "{} bytes in {}, by {compiler}",
        object.len(),
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The compiler's name for itself, as it stands in `prebuilt/made-from`: release and LLVM.
pub fn compiler(toolchain: &Toolchain) -> Result<String> {
    let about = toolchain.ask_rustc(&["-vV"])?;
    let line = |name: &str| {
        about
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or("?")
    };
    Ok(format!(
        "compiler rustc {}, LLVM {}",
        line("release: "),
        line("LLVM version: ")
    ))
}

fn check(
    prebuilt: &Prebuilt,
    sources: &Sources,
    compiler: &str,
    object: &[u8],
) -> Result<ExitCode> {
    let shown = prebuilt.object.display();
    let kept = fs::read(&prebuilt.object).with_context(|| format!("cannot read {shown}"))?;
    if kept == object {
        println!("{shown} is what the sources build to");
        if !prebuilt.is_fresh(sources) {
            println!(
                "(its sources have changed without effect on it: cargo xtask bpf --update says so)"
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !prebuilt.says(compiler) {
        println!("{shown} was not made by {compiler}, so the two cannot be compared");
        return Ok(ExitCode::from(SKIPPED));
    }
    bail!(
        "{shown} is not what the sources build to (remedy: cargo xtask bpf --update, and commit it)"
    )
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
