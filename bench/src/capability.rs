//! What the installed `shmfuse` can be told: it is asked itself.
//!
//! `shmfuse mount OPTIONS` without directories mounts nothing. It says that they are missing if the
//! options are right, and else what is wrong with them. A variant with an option that is not there
//! is refused before a run, and left out of the lists.

use anyhow::{Context, Result, bail, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What it says when nothing but the directories is missing.
const ONLY_DIRECTORIES: &str = "required arguments were not provided";

/// A `shmfuse` that can be asked.
#[derive(Clone, Debug)]
pub struct Capabilities {
    shmfuse: PathBuf,
}

impl Capabilities {
    /// Of this binary.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn of(shmfuse: &Path) -> Result<Self> {
        let output = Command::new(shmfuse)
            .arg("--version")
            .output()
            .with_context(|| {
                format!(
                    "cannot run {} (name the binary with --shmfuse)",
                    shmfuse.display()
                )
            })?;
        ensure!(
            output.status.success(),
            "{} --version: {}",
            shmfuse.display(),
            output.status
        );
        Ok(Self {
            shmfuse: shmfuse.into(),
        })
    }

    /// Whether `shmfuse mount` takes this option with this value.
    pub fn has(&self, option: &str, value: &str) -> bool {
        self.check(&[format!("--{option}"), value.to_owned()])
            .is_ok()
    }

    /// Checks words as they would stand behind `shmfuse mount`, directories left out.
    ///
    /// # Errors
    ///
    /// What the installed `shmfuse` says against them.
    pub fn check(&self, words: &[String]) -> Result<()> {
        let output = Command::new(&self.shmfuse)
            .arg("mount")
            .args(words)
            .stdin(Stdio::null())
            .output()
            .with_context(|| self.shmfuse.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains(ONLY_DIRECTORIES) {
            return Ok(());
        }
        let said = said.trim().trim_start_matches("shmfuse: ");
        bail!("the installed shmfuse refuses it: {said}")
    }
}

/// A program that knows these options of `mount`, each with the beginnings of its values.
#[cfg(test)]
pub(crate) fn fake(folder: &Path, options: &[(&str, &str)]) -> Capabilities {
    use std::{
        fmt::Write as _,
        io::Write as _,
        process::{Command, Stdio},
    };
    let mut script = String::from("#!/bin/sh\n[ \"$1\" = mount ] || exit 0\nshift\n");
    script.push_str("while [ $# -gt 0 ]; do case \"$1 $2\" in\n-o*) ;;\n");
    for (option, values) in options {
        for value in values.split(' ') {
            let _ = writeln!(script, "\"--{option} {value}\"*) ;;");
        }
    }
    script.push_str("*) echo \"shmfuse: unexpected $1 $2\" >&2; exit 2;;\nesac; shift 2; done\n");
    let _ = writeln!(script, "echo \"{ONLY_DIRECTORIES}\" >&2; exit 2");
    let path = folder.join("shmfuse");
    // By another program: what another test starts meanwhile would inherit a descriptor of ours, and
    // what is open for writing cannot be run (execve(2), ETXTBSY).
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = writer.stdin.take().unwrap();
    text.write_all(script.as_bytes()).unwrap();
    drop(text);
    assert!(writer.wait().unwrap().success());
    Capabilities::of(&path).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_binary_refuses_is_refused_in_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let capabilities = fake(dir.path(), &[("data", "copy"), ("s1", "on off")]);
        assert!(capabilities.has("data", "copy") && capabilities.has("s1", "off"));
        assert!(!capabilities.has("s7", "off"));
        let words = ["--data", "direct"].map(str::to_owned);
        let error = capabilities.check(&words).unwrap_err().to_string();
        assert!(error.contains("--data direct"), "{error}");
    }

    #[test]
    fn a_binary_that_is_not_there_is_an_error_with_a_remedy() {
        let error = Capabilities::of(Path::new("/nonexistent/shmfuse")).unwrap_err();
        assert!(format!("{error:#}").contains("--shmfuse"), "{error:#}");
    }
}
