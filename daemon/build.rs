//! Puts the eBPF object into `OUT_DIR`, from the first of these that there is:
//!
//! 1. `$BPF_OBJECT`, a file;
//! 2. the object in the repository, if the sources are those it was made from;
//! 3. what `ebpf` builds to, if there is a toolchain (`cargo xtask setup` makes one);
//! 4. the object in the repository as it is, with a warning.

use std::{env, error::Error, fs, path::Path};

#[path = "../ebpf/recipe.rs"]
mod recipe;

use recipe::{OBJECT_NAME, Prebuilt, Sources, Toolchain};

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("the crate lies in the workspace")?;
    let embedded = Path::new(&out_dir).join(OBJECT_NAME);

    println!("cargo:rerun-if-env-changed=BPF_OBJECT");
    println!("cargo:rerun-if-env-changed=BPF_TOOLCHAIN");
    if let Some(object) = env::var_os("BPF_OBJECT") {
        println!("cargo:rerun-if-changed={}", Path::new(&object).display());
        return copy(Path::new(&object), &embedded);
    }

    let sources = Sources::of(workspace)?;
    let prebuilt = Prebuilt::of(workspace);
    for path in ["ebpf", "transport/src", "transport/Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    if prebuilt.is_fresh(&sources) {
        return copy(&prebuilt.object, &embedded);
    }
    if let Some(toolchain) = Toolchain::find(workspace) {
        return Ok(fs::write(&embedded, toolchain.build(workspace)?)?);
    }
    println!(
        "cargo:warning=the kernel programs have changed since {} was made, and there is no eBPF \
         toolchain to build them with: the old ones are used. Remedy: cargo xtask setup",
        prebuilt.object.display()
    );
    copy(&prebuilt.object, &embedded)
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
