//! Real programs on a real tree.

use super::{Measure, Place, Start, Workload, sources};
use crate::{peers::is_there, recorder::Recorder};
use anyhow::{Context, Result, ensure};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// The tree that commands work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// One that is made: so many files, a git repository, a crate.
    Made {
        /// How many files, besides the crate's.
        files: usize,
    },
    /// One that is there already, in this folder of the lower directory.
    There(String),
}

impl Tree {
    fn folder(&self) -> &str {
        match self {
            Self::Made { .. } => "bench-tree",
            Self::There(folder) => folder,
        }
    }

    /// What of it is copied, as a word of a shell: making files takes longest of all.
    fn part(&self) -> &str {
        match self {
            Self::Made { .. } => "part-00*",
            Self::There(_) => ".",
        }
    }
}

/// A shell command run with the tree as its working directory.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Its name in tables.
    pub name: String,
    /// Programs that it needs besides a shell and coreutils.
    pub programs: &'static [&'static str],
    /// What `sh -c` runs; `$SCRATCH` is a directory below the mount that is removed afterwards,
    /// `$PART` what is to be copied.
    pub script: String,
    /// Where.
    pub tree: Tree,
    /// Whether each repetition has a mount of its own.
    pub start: Start,
    /// How long it takes about.
    pub takes: Duration,
}

/// Name, programs, script, milliseconds on a tree of [`USUAL_FILES`].
type Usual = (&'static str, &'static [&'static str], &'static str, u64);

const USUAL_FILES: usize = 1000;

/// Reads all of a tree.
const READ_ALL: &str = "find . -type f -exec cat {} + >/dev/null";

/// What any tree of sources goes through in a day.
const DAILY: &[Usual] = &[
    ("git status", &["git"], "git status --porcelain", 150),
    (
        "tar create",
        &["tar"],
        "tar cf - --exclude=./.git . | wc -c",
        120,
    ),
    (
        "tar extract",
        &["tar"],
        "tar cf - --exclude=./.git $PART | tar xf - -C \"$SCRATCH\"",
        560,
    ),
    ("find -ls", &["find"], "find . -ls >/dev/null", 90),
    (
        "grep -r",
        &["grep"],
        "grep -r --exclude-dir=.git -c shmfuse . | wc -l",
        150,
    ),
];

/// What needs the tree that is made.
const MADE: &[Usual] = &[
    (
        "cargo build",
        &["cargo"],
        "cd crate && CARGO_TARGET_DIR=\"$SCRATCH/target\" cargo build --quiet --offline",
        900,
    ),
    (
        "rsync",
        &["rsync"],
        "rsync -a $PART \"$SCRATCH/copy/\"",
        680,
    ),
    (
        "sqlite",
        &["sqlite3"],
        "sqlite3 \"$SCRATCH/db\" < sqlite.sql >/dev/null",
        300,
    ),
];

impl Shell {
    fn usual(list: &[Usual], tree: &Tree) -> Vec<Self> {
        let scale = match tree {
            Tree::Made { files } => (*files as f64 / USUAL_FILES as f64).max(0.3),
            Tree::There(_) => 1.0,
        };
        list.iter()
            .map(|&(name, programs, script, milliseconds)| Self {
                name: name.into(),
                programs,
                script: script.into(),
                tree: tree.clone(),
                start: Start::Warm,
                takes: Duration::from_millis(milliseconds).mul_f64(scale),
            })
            .collect()
    }

    /// Status, archive, listing, search on any tree.
    pub fn daily(tree: &Tree) -> Vec<Self> {
        Self::usual(DAILY, tree)
    }

    /// The same and a build, a copy and a database on the tree that is made.
    pub fn all(files: usize) -> Vec<Self> {
        let tree = Tree::Made { files };
        let mut shells = Self::usual(DAILY, &tree);
        shells.extend(Self::usual(MADE, &tree));
        shells
    }

    /// The same on a mount that nobody has used.
    #[must_use]
    pub fn first(self) -> Self {
        Self {
            name: format!("{}, first", self.name),
            start: Start::FreshMount,
            ..self
        }
    }
}

impl Workload for Shell {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn measure(&self) -> Measure {
        Measure::Time
    }

    fn start(&self) -> Start {
        self.start
    }

    fn missing(&self) -> Option<&'static str> {
        self.programs
            .iter()
            .find(|program| !is_there(program))
            .copied()
    }

    fn takes(&self) -> Option<Duration> {
        Some(self.takes)
    }

    fn warmed_by(&self) -> Option<String> {
        (self.start == Start::Warm).then(|| format!("tree: {}", self.tree.folder()))
    }

    /// Reads all of the tree.
    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let reading = Self {
            script: READ_ALL.into(),
            ..self.clone()
        };
        reading.run(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        let folder = lower.join(self.tree.folder());
        if let Tree::Made { files } = self.tree {
            return sources::prepare(&folder, files);
        }
        ensure!(folder.is_dir(), "{} is no directory", folder.display());
        Ok(())
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        let output = Command::new("sh")
            .args(["-e", "-c", READ_ALL])
            .current_dir(lower.join(self.tree.folder()))
            .stdin(Stdio::null())
            .output()
            .context("cannot run sh")?;
        let (status, folder) = (output.status, self.tree.folder());
        ensure!(status.success(), "{READ_ALL} in {folder}: {status}");
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let mut command = Command::new("sh");
        command
            .args(["-e", "-c", &self.script])
            .current_dir(place.root.join(self.tree.folder()))
            .env("SCRATCH", place.scratch)
            .env("PART", self.tree.part())
            // Whoever owns the tree; nothing but the tree's own settings; no lock for the index.
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_OPTIONAL_LOCKS", "0")])
            .envs([
                ("GIT_CONFIG_COUNT", "1"),
                ("GIT_CONFIG_KEY_0", "safe.directory"),
                ("GIT_CONFIG_VALUE_0", "*"),
            ])
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
    use crate::workload::{figures_of, here};

    fn shell(script: &str) -> Shell {
        Shell {
            name: "x".into(),
            programs: &[],
            script: script.into(),
            tree: Tree::There(".".into()),
            start: Start::Warm,
            takes: Duration::ZERO,
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

    #[test]
    fn every_usual_command_runs_on_the_tree_that_is_made() {
        for shell in Shell::all(20) {
            // A build takes seconds, and a compiler.
            if shell.missing().is_none() && shell.name != "cargo build" {
                assert_eq!(figures_of(&shell).operations, 1, "{}", shell.name);
            }
        }
    }
}
