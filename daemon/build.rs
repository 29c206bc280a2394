//! Puts the eBPF objects into `OUT_DIR`, from the first of these that there is:
//!
//! 1. `$BPF_OBJECTS`, a folder;
//! 2. those in the repository, if the sources are those they were made from;
//! 3. what `ebpf` builds to, if there is a toolchain (`cargo xtask setup` makes one);
//! 4. those in the repository as they are, with a warning.

use std::{env, error::Error, fs, path::Path};

#[path = "../ebpf/recipe.rs"]
mod recipe;

use recipe::{PROGRAMS, Prebuilt, Sources, Toolchain, object_name};

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("the crate lies in the workspace")?;
    let embedded = PROGRAMS.map(|program| Path::new(&out_dir).join(object_name(program)));

    println!("cargo:rerun-if-env-changed=BPF_OBJECTS");
    println!("cargo:rerun-if-env-changed=BPF_TOOLCHAIN");
    if let Some(folder) = env::var_os("BPF_OBJECTS") {
        for (program, embedded) in PROGRAMS.iter().zip(&embedded) {
            let object = Path::new(&folder).join(object_name(program));
            println!("cargo:rerun-if-changed={}", object.display());
            copy(&object, embedded)?;
        }
        return Ok(());
    }

    let sources = Sources::of(workspace)?;
    let prebuilt = Prebuilt::of(workspace);
    for path in ["ebpf", "transport/src", "transport/Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    if !prebuilt.is_fresh(&sources) {
        if let Some(toolchain) = Toolchain::find(workspace) {
            for (object, embedded) in toolchain.build(workspace)?.iter().zip(&embedded) {
                fs::write(embedded, object)?;
            }
            return Ok(());
        }
        println!(
            "cargo:warning=the kernel programs have changed since those in ebpf/prebuilt were made, \
             and there is no eBPF toolchain to build them with: the old ones are used. Remedy: \
             cargo xtask setup"
        );
    }
    for (object, embedded) in prebuilt.objects.iter().zip(&embedded) {
        copy(object, embedded)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    // not fs::copy: it would hand on a read-only mode, and the next copy would fail
    fs::read(from)
        .and_then(|object| fs::write(to, object))
        .map_err(|error| {
            format!(
                "cannot copy {} to {}: {error}",
                from.display(),
                to.display()
            )
            .into()
        })
}
