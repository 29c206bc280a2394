//! Where the eBPF toolchain's compiler comes from, with the sources of `core` that match it.
//!
//! The workspace's own rustc does not do: rustup's stable one may come without those sources, and
//! from 1.96 on LLVM knows the BPF machine's loads and stores with acquire and release.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, Result, bail, ensure};

use super::packages::apt_install;
use crate::{bpf::recipe::Toolchain, process, workspace::has_program};

/// The compiler's release; an object from another one differs.
const RELEASE: &str = "1.96.0";

/// Where the compiler comes from.
#[derive(Clone, Default)]
pub enum Source {
    #[default]
    /// The first of the others that has our release; failing that, Debian's of any release.
    Auto,
    /// Debian's rustc-web and rust-web-src, unpacked, not installed.
    Debian,
    /// rustup's, in a rustup home of its own.
    Rustup,
    /// A sysroot that is there and has rust-src.
    Sysroot(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "debian" => Ok(Self::Debian),
            "rustup" => Ok(Self::Rustup),
            path if path.starts_with('/') => Ok(Self::Sysroot(path.into())),
            _ => Err("neither auto, debian or rustup nor an absolute path".to_owned()),
        }
    }
}

/// Puts the compiler into `toolchain` and returns the path of its libLLVM.
pub fn provide(toolchain: &Toolchain, source: &Source) -> Result<PathBuf> {
    match source {
        Source::Debian => debian(toolchain, &debian_version()?),
        Source::Rustup => rustup(toolchain),
        Source::Sysroot(path) => sysroot(toolchain, path),
        Source::Auto => {
            let offered = debian_version();
            if let Ok(version) = &offered
                && version.starts_with(RELEASE)
            {
                return debian(toolchain, version);
            }
            let error = match rustup(toolchain) {
                Ok(llvm) => return Ok(llvm),
                Err(error) => error,
            };
            let version = offered.with_context(|| {
                format!("no rustc {RELEASE} with its sources, neither from rustup ({error:#}) nor from Debian")
            })?;
            println!(
                "setup: no rustc {RELEASE} from rustup ({error:#}); taking Debian's {version}"
            );
            debian(toolchain, &version)
        }
    }
}

fn rustup(toolchain: &Toolchain) -> Result<PathBuf> {
    ensure!(has_program("rustup"), "there is no rustup");
    let home = toolchain.dir.join("rustup");
    let rustup = |words: &[&str]| {
        let mut command = Command::new("rustup");
        command.env("RUSTUP_HOME", &home).args(words);
        command
    };
    println!("setup: rustup toolchain install {RELEASE}");
    let install = [
        "toolchain",
        "install",
        RELEASE,
        "--profile",
        "minimal",
        "--component",
        "rust-src",
        "--no-self-update",
    ];
    process::ask(&mut rustup(&install))?;
    let path = process::ask(&mut rustup(&[
        "run", RELEASE, "rustc", "--print", "sysroot",
    ]))?;
    sysroot(toolchain, Path::new(&path))
}

fn sysroot(toolchain: &Toolchain, path: &Path) -> Result<PathBuf> {
    let core = path.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    ensure!(
        core.is_file(),
        "{} has no sources of core (remedy: rustup component add rust-src)",
        path.display()
    );
    let llvm = file_starting_with(&path.join("lib"), "libLLVM.so.")?;
    write_wrapper(
        toolchain,
        &format!("exec '{}/bin/rustc' \"$@\"", path.display()),
    )?;
    Ok(llvm)
}

/// The version of rustc-web that apt offers.
fn debian_version() -> Result<String> {
    ensure!(has_program("apt-cache"), "this is no Debian");
    let policy = process::ask(Command::new("apt-cache").args(["policy", "rustc-web"]))?;
    let candidate = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "));
    match candidate {
        Some(version) if version != "(none)" => Ok(version.to_owned()),
        _ => bail!("apt offers no rustc-web (remedy: apt-get update; Debian 12 has it)"),
    }
}

fn debian(toolchain: &Toolchain, version: &str) -> Result<PathBuf> {
    let std_dev = format!("libstd-rust-web-dev={version}");
    let std = dependency(&std_dev, "libstd-rust-web-")?;
    let llvm = dependency(&format!("{std}={version}"), "libllvm")?;

    let debs = toolchain.dir.join("debs");
    fs::create_dir_all(&debs)?;
    println!("setup: apt-get download rustc-web rust-web-src libstd-rust-web-dev {std} {llvm}");
    let mut download = Command::new("apt-get");
    download
        .current_dir(&debs)
        .args([
            "--quiet",
            "--quiet",
            "download",
            &std_dev,
            &llvm,
            &format!("{std}={version}"),
        ])
        .args(["rustc-web", "rust-web-src"].map(|name| format!("{name}={version}")));
    process::ask(&mut download)?;
    let deb = |name: &str| file_starting_with(&debs, &format!("{name}_"));

    let tree = toolchain.dir.join("deb");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree)?;
    for name in ["rustc-web", "libstd-rust-web-dev", &std, &llvm] {
        let superfluous = [
            "--exclude=./usr/share/*",
            "--exclude=*/bin/rustdoc",
            "--exclude=*/libexec/*",
        ];
        unpack(&deb(name)?, &tree, &superfluous)?;
    }
    let usr = tree.join("usr");
    unpack_library(
        &deb("rust-web-src")?,
        &tree,
        &usr.join("lib/rustlib/src/rust/library"),
    )?;

    let multiarch = process::ask(Command::new("dpkg-architecture").args(["-qDEB_HOST_MULTIARCH"]))
        .unwrap_or_else(|_| format!("{}-linux-gnu", std::env::consts::ARCH));
    let lib = usr.join("lib").join(multiarch);
    let library = file_starting_with(&lib, "libLLVM.so.")?;
    install_needed(&library, &lib, &deb(&llvm)?)?;
    let (lib, usr) = (lib.display(), usr.display());
    write_wrapper(
        toolchain,
        &format!(
            "LD_LIBRARY_PATH='{lib}'\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\" \
             exec '{usr}/bin/rustc' --sysroot '{usr}' \"$@\""
        ),
    )?;
    fs::remove_dir_all(&debs)?;
    Ok(library)
}

/// The package that `package` depends on and whose name begins with `prefix`.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let depends = process::ask(Command::new("apt-cache").args(["depends", package]))?;
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("{package} depends on no {prefix}*"))
}

/// Unpacks the files of a Debian package into `tree`; `words` go to tar.
fn unpack(deb: &Path, tree: &Path, words: &[&str]) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let tar = dpkg.stdout.take().context("its output is piped")?;
    process::run(
        Command::new("tar")
            .args(["-x", "-C"])
            .arg(tree)
            .args(words)
            .stdin(tar),
    )?;
    let status = dpkg.wait()?;
    ensure!(
        status.success(),
        "cannot unpack {}: dpkg-deb ended with {status}",
        deb.display()
    );
    Ok(())
}

/// Unpacks the standard library's sources, a small part of rust-web-src, as `library`.
fn unpack_library(deb: &Path, tree: &Path, library: &Path) -> Result<()> {
    let list = process::ask(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    let packed = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find_map(|path| path.strip_suffix("/library/Cargo.lock"))
        .map(|path| format!("{path}/library"))
        .with_context(|| format!("{} holds no standard library", deb.display()))?;
    unpack(deb, tree, &[&packed])?;
    fs::create_dir_all(
        library
            .parent()
            .context("the library's folder has a parent")?,
    )?;
    fs::rename(tree.join(packed.trim_start_matches("./")), library)?;
    fs::remove_dir_all(tree.join("usr/src"))?;
    Ok(())
}

/// Installs the packages that libLLVM's package depends on, if the library does not load without.
fn install_needed(library: &Path, lib: &Path, deb: &Path) -> Result<()> {
    let loads = || -> Result<bool> {
        let mut ldd = Command::new("ldd");
        let libraries = process::ask(ldd.arg(library).env("LD_LIBRARY_PATH", lib))?;
        Ok(!libraries.contains("not found"))
    };
    if loads()? {
        return Ok(());
    }
    // "libc6 (>= 2.36), libedit2 (>= 3.1), ..."
    let depends = process::ask(
        Command::new("dpkg-deb")
            .arg("--field")
            .arg(deb)
            .arg("Depends"),
    )?;
    let names: Vec<_> = depends
        .split(',')
        .filter_map(|one| one.split_whitespace().next())
        .collect();
    apt_install(&names)?;
    ensure!(
        loads()?,
        "{} lacks libraries that no package of its brings (ldd names them)",
        library.display()
    );
    Ok(())
}

/// Makes `bin/rustc`: a shell script whose last command is the compiler.
fn write_wrapper(toolchain: &Toolchain, script: &str) -> Result<()> {
    let path = toolchain.rustc();
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn file_starting_with(dir: &Path, prefix: &str) -> Result<PathBuf> {
    fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .flatten()
        .find(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        })
        .map(|entry| entry.path())
        .with_context(|| format!("there is no {prefix}* in {}", dir.display()))
}
