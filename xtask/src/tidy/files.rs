//! The files that the rules are about: those that git tracks, or would.

use std::fs;

use anyhow::Result;

use crate::{process, workspace::Workspace};

/// A text file of the repository.
pub struct File {
    /// From the workspace's root.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl File {
    /// Whether its name ends so.
    pub fn is(&self, extension: &str) -> bool {
        self.path.ends_with(extension)
    }
}

/// All of them; binary ones are left out.
pub fn read(workspace: &Workspace) -> Result<Vec<File>> {
    let mut git = workspace.command("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let mut files = Vec::new();
    for path in process::ask(&mut git)?.split_terminator('\0') {
        // not there: deleted, and not yet committed so
        let Ok(bytes) = fs::read(workspace.root().join(path)) else {
            continue;
        };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}
