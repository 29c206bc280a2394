//! A tree of sources, made the same on every machine: a git repository of many files, a crate that
//! builds without the network, a script for a database.

use super::files::pattern;
use crate::peers::is_there;
use anyhow::{Context, Result, ensure};
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Files of a folder.
const PER_FOLDER: usize = 40;
/// Modules of the crate.
const MODULES: usize = 12;

/// Makes it in `folder` unless it is there: `files` files, and the crate.
///
/// # Errors
///
/// What the file system or git says.
pub fn prepare(folder: &Path, files: usize) -> Result<()> {
    if folder.join(".made").exists() {
        return Ok(());
    }
    for index in 0..files {
        let parent = folder.join(format!("part-{:03}", index / PER_FOLDER));
        if index % PER_FOLDER == 0 {
            fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
        }
        fs::write(parent.join(format!("file-{index:05}.txt")), text(index))?;
    }
    prepare_crate(&folder.join("crate"))?;
    fs::write(folder.join("sqlite.sql"), database_script())?;
    if is_there("git") {
        // With times well before the index's, so that git need not read contents to be sure, and
        // without inode numbers and change times, which other file systems make up.
        shell(
            folder,
            "find . -type f -exec touch -d '2 days ago' {} + && git init --quiet . && \
             git config core.checkStat minimal && git config gc.auto 0 && \
             git config core.fsync none && git add --all && \
             git -c user.name=bench -c user.email=bench@localhost commit --quiet -m tree && \
             git status --porcelain",
        )?;
    }
    Ok(fs::write(folder.join(".made"), b"")?)
}

/// Between 1 and 16 KiB of lines, the same for the same index.
fn text(index: usize) -> String {
    let len = 1024 + (index * 7919) % 15_360;
    let mut text = String::with_capacity(len + 80);
    let mut line = 0;
    while text.len() < len {
        let _ = writeln!(
            text,
            "line {line} of file {index}: shmfuse passes it through"
        );
        line += 1;
    }
    text
}

fn prepare_crate(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("src")).with_context(|| folder.display().to_string())?;
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"built\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )?;
    // Cargo would write it into the tree.
    fs::write(
        folder.join("Cargo.lock"),
        "version = 3\n\n[[package]]\nname = \"built\"\nversion = \"0.1.0\"\n",
    )?;
    let mut library = String::new();
    for module in 0..MODULES {
        let _ = writeln!(library, "pub mod part_{module};");
        let mut source = String::new();
        for function in 0..20 {
            let _ = writeln!(
                source,
                "pub fn f{function}(x: u64) -> u64 {{ \
                 (0..x).map(|y| y.wrapping_mul({function} + {module})).sum() }}"
            );
        }
        fs::write(folder.join(format!("src/part_{module}.rs")), source)?;
    }
    Ok(fs::write(folder.join("src/lib.rs"), library)?)
}

/// Many rows in one transaction, some transactions of one row with a write-ahead log, a search.
fn database_script() -> String {
    let blob = pattern(200).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut script = String::from(
        "PRAGMA journal_mode=WAL;\nCREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, v BLOB);\n\
         CREATE INDEX i ON t (k);\nBEGIN;\n",
    );
    let row = |script: &mut String, index: usize| {
        let _ = writeln!(
            script,
            "INSERT INTO t (k, v) VALUES ('key-{}', x'{blob}');",
            index * 7919 % 4000
        );
    };
    (0..2000).for_each(|index| row(&mut script, index));
    script.push_str("COMMIT;\n");
    (2000..2020).for_each(|index| row(&mut script, index));
    script.push_str("SELECT count(*), sum(length(v)) FROM t WHERE k LIKE 'key-1%';\n");
    script
}

fn shell(folder: &Path, script: &str) -> Result<()> {
    let output = Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("cannot run sh")?;
    ensure!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_clean_for_git_and_made_once() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), 50).unwrap();
        prepare(dir.path(), 50).unwrap();
        assert!(dir.path().join("part-001/file-00049.txt").is_file());
        assert!(dir.path().join("crate/src/part_0.rs").is_file());
        if is_there("git") {
            shell(dir.path(), "git diff --quiet HEAD").unwrap();
        }
    }

    #[test]
    fn texts_differ_in_length_and_say_which_they_are() {
        assert_ne!(text(1).len(), text(2).len());
        assert!((1024..17_000).contains(&text(5).len()));
        assert!(text(7).contains("file 7"));
    }
}
