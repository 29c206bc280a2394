//! Programs for tests that come from crates.io: built once for all clones, in the user's cache.

use std::{fs::File, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    bpf::recipe::cache,
    process,
    workspace::{Workspace, has_program},
};

/// The file system exerciser. The tests look for it in the same place (daemon/tests/fsx_root.rs).
const FSX: &str = "fsx";
const FSX_VERSION: &str = "0.3.2";

/// Where the tools go: `bin` below it holds the programs.
fn place() -> Option<PathBuf> {
    Some(cache()?.join("tools"))
}

/// Whether every tool is there.
pub fn are_there() -> bool {
    has_program(FSX) || place().is_some_and(|place| place.join("bin").join(FSX).is_file())
}

/// Installs what is missing.
pub fn install(workspace: &Workspace) -> Result<()> {
    let place = place().context("no place for tools (remedy: set HOME)")?;
    std::fs::create_dir_all(&place)
        .with_context(|| format!("cannot create {}", place.display()))?;
    // one at a time; whoever had to wait finds it installed
    let lock = File::create(place.join("lock"))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", place.display()))?;
    if are_there() {
        return Ok(());
    }
    println!(
        "setup: installing {FSX} {FSX_VERSION} in {}",
        place.display()
    );
    let mut install = workspace.cargo();
    install
        .args(["install", FSX, "--version", FSX_VERSION, "--locked"])
        .arg("--quiet")
        .arg("--root")
        .arg(&place);
    process::run(&mut install)
}
