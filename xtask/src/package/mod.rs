//! `cargo xtask package`: the Debian package; `--check` installs it, mounts by it, and removes it.
//!
//! What goes into it stands in `daemon/Cargo.toml` (`package.metadata.deb`, for cargo-deb); here is made what the
//! repository does not hold: the program, its manual pages and completions, the names that mount(8) calls it by.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::{
    process::{self, SKIPPED},
    setup::tools,
    workspace::{Workspace, has_program},
};

/// Installs the package over an image of this machine's root that is thrown away, mounts in all the
/// ways that it promises, and removes it.
const CHECK: &str = include_str!("check.sh");

/// Build the Debian package
#[derive(clap::Args)]
pub struct Args {
    /// Package the debug build: sooner made, larger and slower
    #[arg(long)]
    dev: bool,
    /// Install it for a try, and by `cargo install` too (root; nothing stays)
    #[arg(long)]
    check: bool,
}

/// Builds the package, and tries it.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if !has_program("dpkg-deb") {
        println!("package: SKIPPED: no dpkg-deb (Debian: dpkg)");
        return Ok(ExitCode::from(SKIPPED));
    }
    let package = build(workspace, args.dev)?;
    println!("package: {}", package.display());
    if !args.check {
        return Ok(ExitCode::SUCCESS);
    }
    check_cargo_install(workspace)?;
    if !Uid::effective().is_root() {
        println!("package: SKIPPED: installing takes root");
        return Ok(ExitCode::from(SKIPPED));
    }
    let place = tempdir(workspace)?;
    let mut script = workspace.command("unshare");
    script
        .args(["--mount", "--propagation", "private"])
        .args(["bash", "-euo", "pipefail", "-c", CHECK, "check"])
        .arg(&package)
        .arg(&place);
    let outcome = process::run(&mut script);
    fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Where everything that is made lies.
fn place(workspace: &Workspace) -> PathBuf {
    workspace.target().join("package")
}

/// An empty folder.
fn tempdir(workspace: &Workspace) -> Result<PathBuf> {
    let dir = place(workspace).join("check");
    empty(&dir)?;
    Ok(dir)
}

fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn build(workspace: &Workspace, dev: bool) -> Result<PathBuf> {
    let (profile, folder) = if dev {
        ("dev", "debug")
    } else {
        ("release", "release")
    };
    let cargo_deb = tools::CARGO_DEB.install(workspace)?;
    process::run(
        workspace
            .cargo()
            .args(["build", "--locked", "--package", "shmfuse", "--profile"])
            .arg(profile),
    )?;
    let place = place(workspace);
    empty(&place)?;
    let program = workspace.target().join(folder).join("shmfuse");
    for what in ["man", "completions"] {
        process::run(
            workspace
                .command(&program)
                .args(["generate", what])
                .arg(place.join(what)),
        )?;
    }
    fs::create_dir(place.join("sbin"))?;
    for name in ["mount.fuse.shmfuse", "mount.shmfuse"] {
        symlink("../bin/shmfuse", place.join("sbin").join(name))?;
    }
    let output = place.join("deb");
    fs::create_dir(&output)?;
    process::run(
        workspace
            .command(cargo_deb)
            .args(["--package", "shmfuse", "--no-build", "--locked", "--quiet"])
            .args(["--profile", profile, "--output"])
            .arg(&output),
    )?;
    let made = fs::read_dir(&output)?.next();
    match made {
        Some(entry) => Ok(entry?.path()),
        None => bail!("cargo-deb made nothing in {}", output.display()),
    }
}

/// `cargo install --path daemon`, into a folder of ours; the debug build, which is there.
///
/// Offline: the build above has fetched every crate, and a registry that does not answer says nothing of the package.
fn check_cargo_install(workspace: &Workspace) -> Result<()> {
    let root = place(workspace).join("install");
    process::run(
        workspace
            .cargo()
            .args(["install", "--path", "daemon", "--locked", "--debug"])
            .args(["--offline", "--force", "--quiet", "--no-track", "--root"])
            .arg(&root),
    )?;
    let said = process::ask(workspace.command(root.join("bin/shmfuse")).arg("--version"))?;
    println!("package: cargo install --path daemon: {said}");
    Ok(())
}
