//! How the directory is reached: natively, through one of our transports, or through any command
//! that mounts.

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, umount2};
use rustix::process::Pid;
use serde::Deserialize;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a mount may take to answer, and a daemon to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// One way to reach the lower directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name in tables: short, unique within a plan.
    pub name: String,
    /// How it is mounted.
    pub how: How,
}

/// How a [`Variant`] is mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// Not at all: the lower directory itself.
    Native,
    /// `shmfuse mount -f OPTIONS LOWER MOUNTPOINT`.
    Shmfuse(Vec<String>),
    /// Any command that stays in the foreground while it serves.
    Command(Vec<String>),
}

/// A file of peers: `[[peer]]` tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerFile {
    peer: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    /// Name in tables.
    name: String,
    /// Program and arguments; `{lower}` and `{mountpoint}` are filled in. Must stay in the
    /// foreground.
    mount: Vec<String>,
}

impl Variant {
    /// The lower directory itself.
    pub fn native() -> Self {
        Self {
            name: "native".into(),
            how: How::Native,
        }
    }

    /// One of ours, with options of `shmfuse mount`.
    pub fn ours(name: &str, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self {
            name: name.into(),
            how: How::Shmfuse(options),
        }
    }

    /// Peers from the text of a TOML file.
    ///
    /// # Errors
    ///
    /// If it is no such file, or a command lacks `{lower}` or `{mountpoint}`.
    pub fn peers(text: &str) -> Result<Vec<Self>> {
        let file: PeerFile = toml::from_str(text).context("not a file of [[peer]] tables")?;
        file.peer
            .into_iter()
            .map(|peer| {
                for hole in ["{lower}", "{mountpoint}"] {
                    ensure!(
                        peer.mount.iter().any(|word| word.contains(hole)),
                        "peer {}: the mount command lacks {hole}",
                        peer.name
                    );
                }
                Ok(Self {
                    name: peer.name,
                    how: How::Command(peer.mount),
                })
            })
            .collect()
    }

    /// Mounts `lower` at `mountpoint`, an empty directory, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the command cannot run, ends, or does not answer in time; what it printed is in the
    /// error.
    pub fn mount(&self, shmfuse: &Path, lower: &Path, mountpoint: &Path) -> Result<Mounted> {
        let mut command = match &self.how {
            How::Native => {
                return Ok(Mounted {
                    root: lower.to_owned(),
                    mountpoint: None,
                    daemon: None,
                });
            }
            How::Shmfuse(options) => {
                let mut command = Command::new(shmfuse);
                command
                    .args(["mount", "-f"])
                    .args(options)
                    .args([lower, mountpoint]);
                command
            }
            How::Command(words) => {
                let mut words = words.iter().map(|word| {
                    word.replace("{lower}", &lower.display().to_string())
                        .replace("{mountpoint}", &mountpoint.display().to_string())
                });
                let program = words.next().context("an empty mount command")?;
                let mut command = Command::new(program);
                command.args(words);
                command
            }
        };
        let log = mountpoint.with_extension("log");
        let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let before = fs::metadata(mountpoint)?.dev();
        let daemon = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {:?}", command.get_program()))?;
        let mut mounted = Mounted {
            root: mountpoint.to_owned(),
            mountpoint: Some(mountpoint.to_owned()),
            daemon: Some(daemon),
        };
        mounted
            .wait_for(before)
            .with_context(|| format!("{}: {}", self.name, said(&log)))?;
        Ok(mounted)
    }
}

fn said(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .rev()
        .take(5)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join("; ")
}

/// A mounted variant; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    root: PathBuf,
    mountpoint: Option<PathBuf>,
    daemon: Option<Child>,
}

impl Mounted {
    /// Where the lower directory's contents are seen.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The daemon, if there is one.
    pub fn daemon(&self) -> Option<Pid> {
        self.daemon.as_ref().map(Pid::from_child)
    }

    fn wait_for(&mut self, before: u64) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(daemon) = &mut self.daemon
                && let Some(status) = daemon.try_wait()?
            {
                bail!("the mount command ended ({status})");
            }
            if fs::metadata(&self.root).is_ok_and(|root| root.dev() != before) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("nothing mounted after {} s", PATIENCE.as_secs())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(mountpoint) = &self.mountpoint
            && umount2(mountpoint, MntFlags::empty()).is_err()
        {
            // Busy, or never mounted: detach, so that nothing new can enter.
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
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_from_toml() {
        let text = r#"
            [[peer]]
            name = "bindfs"
            mount = ["bindfs", "-f", "{lower}", "{mountpoint}"]
        "#;
        let peers = Variant::peers(text).unwrap();
        assert_eq!(peers[0].name, "bindfs");
    }

    #[test]
    fn a_peer_that_mounts_nowhere_is_refused() {
        let text = "[[peer]]\nname = \"x\"\nmount = [\"x\", \"{lower}\"]";
        let error = Variant::peers(text).unwrap_err().to_string();
        assert!(error.contains("{mountpoint}"), "{error}");
    }

    #[test]
    fn a_mount_command_that_fails_says_what_it_printed() {
        let dir = tempfile::tempdir().unwrap();
        let mountpoint = dir.path().join("mnt");
        fs::create_dir(&mountpoint).unwrap();
        let words = [
            "sh",
            "-c",
            "echo no such thing {lower} {mountpoint}; exit 3",
        ];
        let variant = Variant {
            name: "broken".into(),
            how: How::Command(words.iter().map(|word| word.to_string()).collect()),
        };
        let error = variant
            .mount(Path::new("/bin/false"), dir.path(), &mountpoint)
            .unwrap_err();
        assert!(format!("{error:#}").contains("no such thing"), "{error:#}");
    }
}
