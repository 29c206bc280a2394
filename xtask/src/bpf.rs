//! `cargo xtask bpf`: the eBPF objects in the repository, for builds without an eBPF toolchain.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    process::{self, SKIPPED},
    workspace::Workspace,
};

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
    let objects = toolchain.build(root)?;
    for object in &objects {
        ensure!(
            !contains(object, b"panicking"),
            "a panic is left in an object, which the verifier would refuse (remedy: get(), masks, \
             wrapping arithmetic)"
        );
        ensure!(
            !contains(object, root.as_os_str().as_encoded_bytes()),
            "an object holds the workspace's path, so that it would differ from machine to machine"
        );
    }

    let prebuilt = Prebuilt::of(root);
    let sources = Sources::of(root)?;
    let compiler = compiler(&toolchain)?;
    if args.update {
        let made_from = format!("{sources}\n{compiler}\n");
        for (path, object) in prebuilt.objects.iter().zip(&objects) {
            write(path, object)?;
        }
        write(&prebuilt.made_from, made_from.as_bytes())?;
    }
    if args.check {
        return check(&prebuilt, &sources, &compiler, &objects);
    }
    for (path, object) in prebuilt.objects.iter().zip(&objects) {
        println!("{}: {} bytes, by {compiler}", path.display(), object.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// The compiler's name for itself, as it stands in `prebuilt/made-from`: release and LLVM.
pub fn compiler(toolchain: &Toolchain) -> Result<String> {
    let about = ask_rustc(toolchain, &["-vV"])?;
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

/// What the toolchain's compiler prints when it is asked so.
pub fn ask_rustc(toolchain: &Toolchain, question: &[&str]) -> Result<String> {
    let mut rustc = Command::new(toolchain.rustc());
    process::ask(rustc.env("RUSTC_BOOTSTRAP", "1").args(question))
}

fn check(
    prebuilt: &Prebuilt,
    sources: &Sources,
    compiler: &str,
    objects: &[Vec<u8>],
) -> Result<ExitCode> {
    for (path, object) in prebuilt.objects.iter().zip(objects) {
        let shown = path.display();
        let kept = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
        if kept == *object {
            println!("{shown} is what the sources build to");
            continue;
        }
        if !prebuilt.says(compiler) {
            println!("{shown} was not made by {compiler}, so the two cannot be compared");
            return Ok(ExitCode::from(SKIPPED));
        }
        bail!(
            "{shown} is not what the sources build to (remedy: cargo xtask bpf --update, and commit \
             it)"
        )
    }
    if !prebuilt.is_fresh(sources) {
        println!(
            "(their sources have changed without effect on them: cargo xtask bpf --update says so)"
        );
    }
    Ok(ExitCode::SUCCESS)
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
