//! Other file systems that pass a directory through, run beside ours: any command that mounts, from
//! a TOML file.

use crate::variant::{How, Variant};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{env, path::Path};

/// The peers that are compared with when no file is named.
pub const USUAL: &str = include_str!("../peers/usual.toml");

/// libfuse alone, for [`comparison`](crate::comparison).
pub const LIBFUSE: &str = include_str!("../peers/libfuse.toml");

/// A file of peers: `[[peer]]` tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    peer: Vec<Peer>,
}

/// A command that mounts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its name in tables.
    pub name: String,
    /// Program and arguments; `{lower}`, `{mountpoint}`, `{work}` and `{empty}` are filled in. If
    /// it stays in the foreground, its CPU time is counted.
    pub mount: Vec<String>,
    /// How to get the program where it is missing.
    #[serde(default)]
    pub remedy: Option<String>,
}

impl Peer {
    /// From the text of a TOML file.
    ///
    /// # Errors
    ///
    /// If it is no such file, or a command lacks `{lower}` or `{mountpoint}`.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let file: File = toml::from_str(text).context("not a file of [[peer]] tables")?;
        for peer in &file.peer {
            for hole in ["{lower}", "{mountpoint}"] {
                ensure!(
                    peer.mount.iter().any(|word| word.contains(hole)),
                    "peer {}: the mount command lacks {hole}",
                    peer.name
                );
            }
        }
        Ok(file.peer)
    }

    /// Why it cannot run here, if its program is not there.
    pub fn missing(&self) -> Option<String> {
        let program = self.mount.first()?;
        if is_there(program) {
            return None;
        }
        let remedy = self.remedy.as_deref().unwrap_or("install it");
        Some(format!("{program} is not installed ({remedy})"))
    }

    /// The variant it is.
    pub fn variant(&self) -> Variant {
        Variant {
            name: self.name.clone(),
            how: How::Command(self.mount.clone()),
        }
    }
}

/// Whether a program is there: by its path, or somewhere in PATH.
pub fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_peers_are_a_file_of_peers() {
        let peers = Peer::parse(USUAL).unwrap();
        for name in ["bindfs", "fuse-overlayfs", "mergerfs", "passthrough_hp"] {
            let peer = peers.iter().find(|peer| peer.name == name);
            assert!(peer.is_some_and(|peer| peer.remedy.is_some()), "{name}");
        }
    }

    #[test]
    fn a_peer_that_mounts_nowhere_is_refused() {
        let text = "[[peer]]\nname = \"x\"\nmount = [\"x\", \"{lower}\"]";
        let error = Peer::parse(text).unwrap_err().to_string();
        assert!(error.contains("{mountpoint}"), "{error}");
        assert!(Peer::parse("[[peer]]\nnoun = 1").is_err());
    }

    #[test]
    fn a_peer_that_is_not_installed_says_how_to_get_it() {
        let peer = Peer {
            name: "x".into(),
            mount: vec!["no-such-program-anywhere".into()],
            remedy: Some("apt install x".into()),
        };
        let missing = peer.missing().unwrap();
        assert!(missing.contains("no-such-program") && missing.contains("apt install x"));
        assert!(is_there("sh") && is_there("/bin/sh"));
    }
}
