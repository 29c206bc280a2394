//! The file system exerciser `fsx`: random reads, writes, mapped reads and writes, truncations,
//! allocations, punched holes and copies on one file, each checked against a model in memory.
//!
//! The program is taken from where `SHMFUSE_FSX` says, from the user's cache, where `cargo xtask
//! setup` puts it, or from `PATH`.

#[macro_use]
mod common;

use common::{TestMount, run, scale, skip};
use std::{env, fs, path::PathBuf, process::Command};

/// Operations at scale 1; the full run has scale 20.
const OPERATIONS: u64 = 5_000;

fn fsx() -> Option<PathBuf> {
    let home_cache = || Some(env::home_dir()?.join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home_cache);
    let path = env::var_os("PATH").unwrap_or_default();
    env::var_os("SHMFUSE_FSX")
        .map(PathBuf::from)
        .into_iter()
        .chain(cache.map(|cache| cache.join("shmfuse/tools/bin/fsx")))
        .chain(env::split_paths(&path).map(|dir| dir.join("fsx")))
        .find(|path| path.is_file())
}

/// Every operation that fsx has, with files up to 1 MiB.
const EVERYTHING: &str = "
flen = 1048576
[opsize]
max = 131072
[weights]
close_open = 2
invalidate = 2
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 5
fsync = 1
fdatasync = 1
posix_fallocate = 2
punch_hole = 3
sendfile = 5
posix_fadvise = 2
copy_file_range = 5
";

fn exercise(mount: &TestMount, config: &str) {
    let Some(fsx) = fsx() else {
        let name = format!("{}::fsx", mount.variant().name());
        return skip::skip(&name, "no fsx found (cargo xtask setup installs it)");
    };
    let config_path = mount.scratch().join("fsx.toml");
    fs::write(&config_path, config).unwrap();
    let operations = OPERATIONS * scale::factor();
    for seed in [1, 2] {
        let mut command = Command::new(&fsx);
        command
            .arg("-f")
            .arg(&config_path)
            .arg("-P")
            .arg(mount.scratch())
            .args(["-N", &(operations / 2).to_string(), "-S", &seed.to_string()])
            .arg(mount.path().join(format!("file{seed}")));
        run(&mut command);
    }
}

fn fsx_finds_nothing_with_every_operation(mount: &TestMount) {
    exercise(mount, EVERYTHING);
}

fn fsx_finds_nothing_with_aligned_reads_and_writes(mount: &TestMount) {
    // With alignment, fsx 0.3.2 also asks for allocations of no bytes, which are EINVAL.
    let aligned = EVERYTHING
        .replace("[opsize]", "[opsize]\nalign = 4096")
        .replace("posix_fallocate = 2", "posix_fallocate = 0");
    exercise(mount, &aligned);
}

for_every_variant_and_writeback!(
    on_mount,
    [
        fsx_finds_nothing_with_every_operation,
        fsx_finds_nothing_with_aligned_reads_and_writes
    ]
);
