//! Where changes of a directory behind a mount would be reported from.

use super::Check;
use crate::coherence::establish::{Trial, prove};
use std::path::Path;

/// Tries the sources of changes on the file system of `lower`, in a scratch directory there.
pub fn examine(lower: &Path) -> Check {
    let trial = Trial {
        lower,
        read_only: false,
        misses: None,
    };
    let outcome = prove(&trial)
        .map(|proven| format!("{}: {}", proven.coherence.source().name(), proven.by))
        .map_err(|reasons| reasons.join("; "));
    Check::tried(
        "changes",
        lower.display().to_string(),
        outcome,
        "--cache coherent; without it a mount of this directory is strict",
        "as root, on ext4, xfs, btrfs or tmpfs, with Linux 6.16 or newer; or --cache ttl=SECONDS",
    )
}
