//! The eBPF toolchain: a compiler with the sources of `core`, a linker, and a target.
//!
//! It is made once for a machine and user: in the cache (`recipe.rs` names the place), where every
//! clone of the repository finds it, or in `$BPF_TOOLCHAIN` if that is set.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};

use super::compiler::{self, Source};
use crate::{
    bpf::{
        self,
        recipe::{TOOLCHAIN_VERSION, Toolchain},
    },
    process,
    workspace::Workspace,
};

/// The linker that turns rustc's output into an eBPF object. 0.13 is the first that knows LLVM 22.
const BPF_LINKER: &str = "0.13.0";

/// Makes the toolchain where all clones find it.
pub fn install(workspace: &Workspace, source: &Source) -> Result<()> {
    let dir = Toolchain::places(workspace.root())
        .pop()
        .context("no place for the eBPF toolchain (remedy: set BPF_TOOLCHAIN or HOME)")?;
    fs::create_dir_all(dir.join("bin"))
        .with_context(|| format!("cannot create {}", dir.display()))?;
    let toolchain = Toolchain { dir };
    let dir = toolchain.dir.display();

    // one at a time; whoever had to wait finds it made
    let lock = File::create(toolchain.dir.join("lock"))?;
    lock.lock().with_context(|| format!("cannot lock {dir}"))?;
    if toolchain.is_ready() {
        return Ok(());
    }
    println!("setup: making the eBPF toolchain in {dir} (some minutes)");
    let llvm = compiler::provide(&toolchain, source)?;
    let about = bpf::compiler(&toolchain)?;
    println!("setup: {about}");
    install_linker(workspace, &toolchain, &llvm, &about)?;
    write_target(&toolchain)?;
    fs::write(toolchain.ready(), TOOLCHAIN_VERSION)?;
    println!("setup: the eBPF toolchain is ready");
    // has cargo run daemon/build.rs again, which may have had to do without
    let recipe = File::options()
        .append(true)
        .open(workspace.root().join("ebpf/recipe.rs"))?;
    recipe.set_modified(SystemTime::now())?;
    Ok(())
}

/// Builds bpf-linker against the compiler's own LLVM: the two must be of one version, and that
/// library is there anyway.
fn install_linker(
    workspace: &Workspace,
    toolchain: &Toolchain,
    llvm: &Path,
    compiler: &str,
) -> Result<()> {
    let (_, llvm_version) = compiler
        .split_once("LLVM ")
        .context("the compiler names its LLVM")?;
    let llvm_major = llvm_version.split('.').next().unwrap_or_default();
    let prefix = toolchain.dir.join("llvm");
    let lib = prefix.join("lib");
    fs::create_dir_all(&lib)?;
    for name in [
        "libLLVM.so".as_ref(),
        llvm.file_name().context("libLLVM has a name")?,
    ] {
        let link = lib.join(name);
        let _ = fs::remove_file(&link);
        symlink(llvm, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    println!("setup: building bpf-linker {BPF_LINKER}");
    let build = toolchain.dir.join("build");
    let mut install = workspace.cargo();
    install
        .env("LLVM_PREFIX", &prefix)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .args([
            "install",
            "bpf-linker",
            "--version",
            BPF_LINKER,
            "--locked",
            "--quiet",
            "--force",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm_major}"),
        ])
        .arg("--root")
        .arg(&toolchain.dir)
        .arg("--target-dir")
        .arg(&build);
    process::run(&mut install)?;
    fs::remove_dir_all(&build)?;
    Ok(())
}

/// The compiler's own BPF target, but with what today's kernels can: compare-and-swap, and atomics
/// of each size. The built-in one leaves them out of `core::sync::atomic`.
fn write_target(toolchain: &Toolchain) -> Result<()> {
    let question = [
        "-Zunstable-options",
        "--print",
        "target-spec-json",
        "--target",
        "bpfel-unknown-none",
    ];
    let mut target = bpf::ask_rustc(toolchain, &question)?;
    for (from, to) in [
        (r#""atomic-cas": false"#, r#""atomic-cas": true"#),
        (r#""min-atomic-width": 64"#, r#""min-atomic-width": 8"#),
    ] {
        ensure!(
            target.contains(from),
            "the compiler's BPF target does not say {from}: look at it anew"
        );
        target = target.replace(from, to);
    }
    fs::write(toolchain.target(), target)?;
    Ok(())
}
