//! Programs for tests and for packaging that come from crates.io: built once for all clones, in the user's cache.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    bpf::recipe::cache,
    process,
    workspace::{Workspace, has_program},
};

/// A program from crates.io.
pub struct Tool {
    name: &'static str,
    version: &'static str,
}

/// The file system exerciser. The tests look for it in the same place (daemon/tests/fsx_root.rs).
const FSX: Tool = Tool {
    name: "fsx",
    version: "0.3.2",
};

/// Makes the Debian package.
pub const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// What tests need.
const TOOLS: &[Tool] = &[FSX];

/// Where the tools go: `bin` below it holds the programs.
fn place() -> Option<PathBuf> {
    Some(cache()?.join("tools"))
}

/// Whether every tool that tests need is there.
pub fn are_there() -> bool {
    TOOLS.iter().all(Tool::is_there)
}

/// Installs what is missing.
pub fn install(workspace: &Workspace) -> Result<()> {
    TOOLS
        .iter()
        .try_for_each(|tool| tool.install(workspace).map(drop))
}

impl Tool {
    fn is_there(&self) -> bool {
        has_program(self.name) || place().is_some_and(|place| self.path(&place).is_file())
    }

    fn path(&self, place: &Path) -> PathBuf {
        place.join("bin").join(self.name)
    }

    /// Installs it if it is missing; the program.
    pub fn install(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version } = self;
        if has_program(name) {
            return Ok(name.into());
        }
        let place = place().context("no place for tools (remedy: set HOME)")?;
        std::fs::create_dir_all(&place)
            .with_context(|| format!("cannot create {}", place.display()))?;
        // one at a time; whoever had to wait finds it installed
        let lock = File::create(place.join("lock"))?;
        lock.lock()
            .with_context(|| format!("cannot lock {}", place.display()))?;
        let program = self.path(&place);
        if !program.is_file() {
            println!("setup: installing {name} {version} in {}", place.display());
            let mut install = workspace.cargo();
            install
                .args(["install", name, "--version", version, "--locked"])
                .arg("--quiet")
                .arg("--root")
                .arg(&place);
            process::run(&mut install)?;
        }
        Ok(program)
    }
}
