//! Real programs on a real tree.

use super::{Measure, Place, Workload};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A shell command run with the tree as its working directory.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Its name in tables.
    pub name: String,
    /// What `sh -c` runs; `$SCRATCH` is a directory below the mount that is removed afterwards.
    pub script: String,
    /// The tree's folder below the lower directory.
    pub folder: String,
}

impl Shell {
    /// What a tree of sources goes through in a day: status, archive, listing, search.
    pub fn usual(folder: &str) -> Vec<Self> {
        [
            ("git status", "git status --porcelain"),
            ("tar create", "tar cf - --exclude=./.git . | wc -c"),
            (
                "tar extract",
                "tar cf - --exclude=./.git . | tar xf - -C \"$SCRATCH\"",
            ),
            ("find -ls", "find . -ls"),
            ("grep -r", "grep -r --exclude-dir=.git -c shmfuse . | wc -l"),
        ]
        .map(|(name, script)| Self {
            name: name.into(),
            script: script.into(),
            folder: folder.into(),
        })
        .into()
    }
}

impl Workload for Shell {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn measure(&self) -> Measure {
        Measure::Time
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        let folder = lower.join(&self.folder);
        ensure!(folder.is_dir(), "{} is no directory", folder.display());
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let mut command = Command::new("sh");
        command
            .args(["-e", "-c", &self.script])
            .current_dir(place.root.join(&self.folder))
            .env("SCRATCH", place.scratch)
            .stdin(Stdio::null());
        let output = recorder
            .time(|| command.output())
            .context("cannot run sh")?;
        ensure!(
            output.status.success(),
            "{}: {}: {}",
            self.script,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(dir: &Path) -> Place<'_> {
        Place {
            root: dir,
            scratch: dir,
            native: true,
        }
    }

    fn shell(script: &str) -> Shell {
        Shell {
            name: "x".into(),
            script: script.into(),
            folder: ".".into(),
        }
    }

    #[test]
    fn a_command_that_fails_is_an_error_with_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let error = shell("echo broken >&2; exit 4")
            .run(&here(dir.path()), &mut Recorder::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("broken"), "{error}");
    }

    #[test]
    fn a_command_knows_its_scratch_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::default();
        shell("touch \"$SCRATCH/here\"")
            .run(&here(dir.path()), &mut recorder)
            .unwrap();
        assert!(dir.path().join("here").exists());
    }
}
