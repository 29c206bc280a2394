//! A variant that is mounted, and where it is.

use crate::{run::Below, session, watchdog};
use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use rustix::process::Pid;
use std::{
    cell::{Cell, OnceCell},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a mount may take to answer, and a daemon to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directories of a run: the lower one that all variants share, mountpoints, and room for
/// mount commands that need more. Removed when dropped.
#[derive(Debug)]
pub struct Site {
    shmfuse: PathBuf,
    base: TempDir,
    lower: PathBuf,
    mountpoints: TempDir,
    made: Cell<usize>,
    in_memory: OnceCell<Box<Site>>,
}

impl Site {
    /// Makes them below `parent`; mountpoints are elsewhere, on the temporary directory.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn new(shmfuse: &Path, parent: &Path) -> Result<Self> {
        let base = tempfile::Builder::new()
            .prefix("shmfuse-bench-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a lower directory in {}", parent.display()))?;
        let lower = base.path().join("lower");
        fs::create_dir(&lower)?;
        Ok(Self {
            shmfuse: shmfuse.into(),
            lower,
            base,
            mountpoints: tempfile::tempdir().context("a directory for mountpoints")?,
            made: Cell::new(0),
            in_memory: OnceCell::new(),
        })
    }

    /// The directories of groups that are to be there: these, or others that are made when first
    /// asked for and removed with these.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(&self, below: Below) -> Result<&Self> {
        if below == Below::AsTold {
            return Ok(self);
        }
        if let Some(site) = self.in_memory.get() {
            return Ok(site);
        }
        let site = Self::new(&self.shmfuse, session::place("tmpfs")?)?;
        Ok(self.in_memory.get_or_init(|| Box::new(site)))
    }

    /// The directory that all variants show.
    pub fn lower(&self) -> &Path {
        &self.lower
    }

    /// The `shmfuse` binary.
    pub fn shmfuse(&self) -> &Path {
        &self.shmfuse
    }

    /// A name that nothing of this run has had.
    pub(crate) fn new_name(&self) -> String {
        let number = self.made.replace(self.made.get() + 1);
        format!("bench-{number}")
    }

    /// A new empty directory to mount on.
    pub(crate) fn mountpoint(&self) -> Result<PathBuf> {
        let path = self.mountpoints.path().join(self.new_name());
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// A word of a mount command with its holes filled: `{lower}`, `{mountpoint}`, and, made on
    /// demand on the lower directory's file system, the empty directories `{work}` and `{empty}` and
    /// the file [`RULES`].
    pub(crate) fn filled(&self, word: &str, mountpoint: &Path) -> Result<String> {
        let mut word = word
            .replace("{lower}", &self.lower.display().to_string())
            .replace("{mountpoint}", &mountpoint.display().to_string());
        for (hole, name) in [("{work}", "work"), ("{empty}", "empty")] {
            if word.contains(hole) {
                let folder = self.base.path().join(name);
                fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
                word = word.replace(hole, &folder.display().to_string());
            }
        }
        if word.contains(RULES) {
            let file = self.base.path().join("rules.toml");
            fs::write(&file, rules()).with_context(|| file.display().to_string())?;
            word = word.replace(RULES, &file.display().to_string());
        }
        Ok(word)
    }
}

/// Stands in a mount command for a file of as many rules as there may be, which no request meets:
/// each is looked at.
pub const RULES: &str = "{rules}";

/// Text of that file: rules about users who do nothing here.
fn rules() -> String {
    (0..64)
        .map(|n| {
            let uid = 4_000_000 + n;
            format!("[[rule]]\nname = 'nobody {n}'\naction = 'deny'\nuid = {uid}\n")
        })
        .collect()
}

/// A mounted variant; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    root: PathBuf,
    mountpoint: Option<PathBuf>,
    daemon: Option<Child>,
    device: Option<u64>,
}

impl Mounted {
    /// The lower directory itself.
    pub(crate) fn native(lower: &Path) -> Self {
        Self {
            root: lower.to_owned(),
            mountpoint: None,
            daemon: None,
            device: None,
        }
    }

    /// By a command that mounts at `mountpoint`, in the foreground or as a daemon.
    pub(crate) fn by(mut command: Command, mountpoint: PathBuf) -> Result<Self> {
        let log = mountpoint.with_extension("log");
        let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let before = fs::metadata(&mountpoint)?.dev();
        let daemon = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {:?}", command.get_program()))?;
        let mut mounted = Self {
            root: mountpoint.clone(),
            mountpoint: Some(mountpoint),
            daemon: Some(daemon),
            device: None,
        };
        mounted.wait_for(before).with_context(|| said(&log))?;
        Ok(mounted)
    }

    /// Where the lower directory's contents are seen.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where it is mounted; nowhere on native.
    pub fn mountpoint(&self) -> Option<&Path> {
        self.mountpoint.as_deref()
    }

    /// The mount's device number; none on native.
    pub fn device(&self) -> Option<u64> {
        self.device
    }

    /// The daemon, if there is one that stayed in the foreground.
    pub fn daemon(&self) -> Option<Pid> {
        self.daemon.as_ref().map(Pid::from_child)
    }

    fn wait_for(&mut self, before: u64) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(daemon) = &mut self.daemon
                && let Some(status) = daemon.try_wait()?
            {
                if !status.success() {
                    bail!("the mount command ended ({status})");
                }
                // It serves in the background.
                self.daemon = None;
            }
            let device = fs::metadata(&self.root).map(|root| root.dev());
            if let Ok(device) = device
                && device != before
            {
                self.device = Some(device);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("nothing mounted after {} s", PATIENCE.as_secs())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(mountpoint) = &self.mountpoint
            && umount2(mountpoint, MntFlags::empty()).is_err()
        {
            // Busy, hung or never mounted: end what waits, and detach, so that nothing new enters.
            watchdog::abort(mountpoint);
            let _ = umount2(mountpoint, MntFlags::MNT_DETACH);
        }
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if !matches!(daemon.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
}

/// The last lines of what a mount command printed.
fn said(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::{How, Variant};
    use std::collections::HashSet;

    #[test]
    fn a_mount_command_that_fails_says_what_it_printed() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Path::new("/bin/false"), dir.path()).unwrap();
        let script = "echo no such thing {lower} {mountpoint}; exit 3";
        let variant = Variant {
            name: "broken".into(),
            how: How::Command(["sh", "-c", script].map(str::to_owned).into()),
        };
        let error = variant.mount(&site).unwrap_err();
        assert!(format!("{error:#}").contains("no such thing"), "{error:#}");
    }

    #[test]
    fn rules_are_as_many_as_there_may_be_and_have_names_of_their_own() {
        let text = rules();
        let names: HashSet<&str> = text
            .lines()
            .filter(|line| line.starts_with("name"))
            .collect();
        assert_eq!(names.len(), 64);
    }

    #[test]
    fn holes_are_filled_with_directories_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Path::new("/bin/false"), dir.path()).unwrap();
        let mountpoint = site.mountpoint().unwrap();
        for hole in ["{lower}", "{mountpoint}", "{work}", "{empty}"] {
            let filled = site.filled(hole, &mountpoint).unwrap();
            assert!(Path::new(&filled).is_dir(), "{hole}: {filled}");
        }
        let filled = site.filled(RULES, &mountpoint).unwrap();
        assert!(Path::new(&filled).is_file(), "{filled}");
    }
}
