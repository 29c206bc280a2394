//! The programs that building and testing take, each with its Debian package and its reason.

use std::{fmt, process::Command};

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::{process, workspace::has_program};

/// A Debian package that must be there.
pub struct Package {
    name: &'static str,
    /// A program of it: what shows that it is there, on other distributions too.
    program: &'static str,
    reason: &'static str,
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            program,
            reason,
        } = self;
        write!(f, "{program} (Debian: {name}), for: {reason}")
    }
}

const PACKAGES: &[Package] = &[
    Package {
        name: "gcc",
        program: "cc",
        reason: "links every Rust program",
    },
    Package {
        name: "git",
        program: "git",
        reason: "lists the files that house rules are about; a workload of tests and benches",
    },
    Package {
        name: "fuse3",
        program: "fusermount3",
        reason: "mounts and unmounts for users without privileges",
    },
    Package {
        name: "util-linux",
        program: "unshare",
        reason: "gives tests a mount namespace; losetup, mount and prlimit in tests",
    },
    Package {
        name: "bpftool",
        program: "bpftool",
        reason: "shows in tests which kernel programs are loaded",
    },
    Package {
        name: "e2fsprogs",
        program: "mkfs.ext4",
        reason: "makes lower file systems for tests",
    },
    Package {
        name: "xfsprogs",
        program: "mkfs.xfs",
        reason: "makes lower file systems for tests",
    },
    Package {
        name: "btrfs-progs",
        program: "mkfs.btrfs",
        reason: "makes lower file systems for tests",
    },
    Package {
        name: "attr",
        program: "setfattr",
        reason: "tests of extended attributes",
    },
    Package {
        name: "acl",
        program: "setfacl",
        reason: "tests of access control lists",
    },
    Package {
        name: "libcap2-bin",
        program: "setcap",
        reason: "tests of file capabilities",
    },
    Package {
        name: "strace",
        program: "strace",
        reason: "shows which system calls a path makes, and which it spares",
    },
    Package {
        name: "fio",
        program: "fio",
        reason: "reads and writes of every kind, in tests and benches",
    },
    Package {
        name: "rsync",
        program: "rsync",
        reason: "a workload of tests: metadata of whole trees",
    },
    Package {
        name: "sqlite3",
        program: "sqlite3",
        reason: "a workload of tests: locks, fsync, mmap",
    },
    Package {
        name: "trace-cmd",
        program: "trace-cmd",
        reason: "reads in tests what `shmfuse trace --ftrace` recorded",
    },
    Package {
        name: "xz-utils",
        program: "xz",
        reason: "unpacks the eBPF toolchain; a workload of tests",
    },
];

/// What `cargo xtask bench` compares with, if it can be had.
pub const PEERS: &[Package] = &[
    Package {
        name: "bindfs",
        program: "bindfs",
        reason: "a peer of the comparison",
    },
    Package {
        name: "fuse-overlayfs",
        program: "fuse-overlayfs",
        reason: "a peer of the comparison",
    },
    Package {
        name: "mergerfs",
        program: "mergerfs",
        reason: "a peer of the comparison",
    },
];

/// Those that must be there and are not.
pub fn missing() -> Vec<&'static Package> {
    missing_of(PACKAGES)
}

/// Those of a list that are not there.
pub fn missing_of(packages: &'static [Package]) -> Vec<&'static Package> {
    packages
        .iter()
        .filter(|package| !has_program(package.program))
        .collect()
}

/// Installs `missing`.
pub fn install(missing: &[&Package]) -> Result<()> {
    for package in missing {
        println!("setup: missing: {package}");
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    apt_install(&names)?;
    let still: Vec<_> = missing
        .iter()
        .filter(|package| !has_program(package.program))
        .map(|package| package.program)
        .collect();
    if !still.is_empty() {
        bail!(
            "installed the packages, but there is still no {}",
            still.join(", ")
        );
    }
    Ok(())
}

/// Installs Debian packages, where that is possible.
pub fn apt_install(names: &[&str]) -> Result<()> {
    let names = names.join(" ");
    if !has_program("apt-get") {
        bail!(
            "not installed: {names} (remedy: install them with this distribution's package manager)"
        );
    }
    if !Uid::effective().is_root() {
        bail!("not installed: {names} (remedy: sudo apt-get install {names})");
    }
    apt_get(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt_get(
        &install
            .into_iter()
            .chain(names.split(' '))
            .collect::<Vec<_>>(),
    )
}

/// Runs apt-get quietly, after whoever else is using it.
fn apt_get(words: &[&str]) -> Result<()> {
    println!("setup: apt-get {}", words.join(" "));
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--quiet", "--quiet", "-o", "DPkg::Lock::Timeout=300"])
        .args(words);
    process::ask(&mut command)?;
    Ok(())
}
