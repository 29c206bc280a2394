//! How the eBPF crate becomes an object, said once. Not part of the crate: `daemon/build.rs` and
//! xtask (`src/bpf.rs`) include this file by path. Needs nothing but the standard library.
//!
//! The object is the same, byte for byte, on every machine with the same compiler: paths are
//! trimmed, and it carries no debug information, so that a comment that moves lines does not
//! change it. That is why it can be kept in the repository (`ebpf/prebuilt/`) and checked.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The toolchain that the recipe is for: rustc's version and bpf-linker's. A toolchain folder holds
/// it in its file `ready`. Changed whenever what `cargo xtask setup` makes is to be made anew.
pub const TOOLCHAIN_VERSION: &str = "rustc-1.96-linker-0.13.0";

/// The programs of the crate: one object each, embedded into the daemon as `NAME.bpf.o`.
pub const PROGRAMS: [&str; 2] = ["shmfuse", "trace"];

/// The file that holds the object of one of [`PROGRAMS`].
pub fn object_name(program: &str) -> String {
    format!("{program}.bpf.o")
}

/// What the object is made of, from the workspace's root. All of transport is here: what of it
/// the programs use is theirs to say.
const SOURCES: [&str; 6] = [
    "ebpf/src",
    "ebpf/Cargo.toml",
    "ebpf/Cargo.lock",
    "ebpf/recipe.rs",
    "transport/src",
    "transport/Cargo.toml",
];

/// What to do when something here fails.
#[derive(Debug)]
pub struct RecipeError(String);

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecipeError {}

fn error(what: impl fmt::Display, path: &Path, source: &io::Error) -> RecipeError {
    RecipeError(format!("{what} {}: {source}", path.display()))
}

/// What this user's clones share: `$XDG_CACHE_HOME/shmfuse`, or `~/.cache/shmfuse`.
pub fn cache() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".cache")))?;
    Some(base.join("shmfuse"))
}

/// A compiler for the BPF machine with its linker and target, as `cargo xtask setup` makes it.
#[derive(Debug)]
pub struct Toolchain {
    /// Its folder: `bin/rustc`, `bin/bpf-linker`, `bpfel-atomic.json`, `ready`.
    pub dir: PathBuf,
}

impl Toolchain {
    /// Where a toolchain may be, in the order of preference: `$BPF_TOOLCHAIN` (and nowhere else if
    /// that is set), `.bpf-toolchain` in the workspace, the user's cache, which all clones share.
    pub fn places(workspace: &Path) -> Vec<PathBuf> {
        if let Some(dir) = env::var_os("BPF_TOOLCHAIN").filter(|dir| !dir.is_empty()) {
            return vec![PathBuf::from(dir)];
        }
        let mut places = vec![workspace.join(".bpf-toolchain")];
        places.extend(cache().map(|dir| dir.join(format!("bpf-toolchain-{TOOLCHAIN_VERSION}"))));
        places
    }

    /// The first toolchain in those places that is complete and of our version.
    pub fn find(workspace: &Path) -> Option<Self> {
        Self::places(workspace)
            .into_iter()
            .map(|dir| Self { dir })
            .find(Self::is_ready)
    }

    /// Whether the set-up of this toolchain came to its end, and was for this version.
    pub fn is_ready(&self) -> bool {
        fs::read_to_string(self.ready()).is_ok_and(|version| version.trim() == TOOLCHAIN_VERSION)
    }

    /// The file that is written last, and holds the version.
    pub fn ready(&self) -> PathBuf {
        self.dir.join("ready")
    }

    /// The compiler: a wrapper that finds its own libraries.
    pub fn rustc(&self) -> PathBuf {
        self.dir.join("bin/rustc")
    }

    /// The target: `bpfel-unknown-none` with compare-and-swap.
    pub fn target(&self) -> PathBuf {
        self.dir.join("bpfel-atomic.json")
    }

    /// Compiles the eBPF crate of `workspace` and returns the object of each of [`PROGRAMS`].
    ///
    /// Intermediate files lie beside the toolchain, so that the clones of a machine compile `core`
    /// and the other dependencies once.
    pub fn build(&self, workspace: &Path) -> Result<Vec<Vec<u8>>, RecipeError> {
        let target_dir = self.dir.join("target");
        fs::create_dir_all(&target_dir).map_err(|e| error("cannot create", &target_dir, &e))?;
        // Held until the object is read: another clone's build puts its own in the same place.
        let lock_path = target_dir.join("one-clone-at-a-time");
        let lock = fs::File::create(&lock_path).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|e| error("cannot lock", &lock_path, &e))?;

        let mut cargo = self.cargo(workspace, &target_dir);
        let status = cargo
            .status()
            .map_err(|e| error("cannot run", Path::new(cargo.get_program()), &e))?;
        if !status.success() {
            let text = format!("the eBPF crate does not build: cargo ended with {status}");
            return Err(RecipeError(text));
        }
        let read = |program: &&str| {
            let object = target_dir.join("bpfel-atomic/release").join(program);
            fs::read(&object).map_err(|e| error("cannot read", &object, &e))
        };
        PROGRAMS.iter().map(read).collect()
    }

    fn cargo(&self, workspace: &Path, target_dir: &Path) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Nothing of the outer build may leak into the inner one.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let of_cargo = text.starts_with("CARGO") && text != "CARGO_HOME";
            let of_rustc = text.starts_with("RUSTC") || text == "RUSTFLAGS";
            if of_cargo || of_rustc || text == "TARGET" || text == "HOST" {
                command.env_remove(&name);
            }
        }
        // No flag names the workspace, or every clone would compile all dependencies anew; trimming
        // paths keeps its name out of the object.
        let linker = self.dir.join("bin/bpf-linker");
        let rustflags = format!("-Ctarget-cpu=v4\x1f-Clinker={}", linker.display());
        command
            .current_dir(workspace.join("ebpf"))
            .env("RUSTC", self.rustc())
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags)
            .env("CARGO_PROFILE_RELEASE_TRIM_PATHS", "all")
            .args(["build", "--release", "--locked"])
            .args(["-Ztrim-paths", "-Zbuild-std=core", "-Zjson-target-spec"])
            .arg("--target")
            .arg(self.target())
            .arg("--target-dir")
            .arg(target_dir);
        command
    }
}

/// The objects in the repository, and what they were made from.
#[derive(Debug)]
pub struct Prebuilt {
    /// The objects, in the order of [`PROGRAMS`].
    pub objects: Vec<PathBuf>,
    /// Two lines: the fingerprint of their sources, and their compiler.
    pub made_from: PathBuf,
}

impl Prebuilt {
    /// Where they lie.
    pub fn of(workspace: &Path) -> Self {
        let dir = workspace.join("ebpf/prebuilt");
        Self {
            objects: PROGRAMS
                .map(|program| dir.join(object_name(program)))
                .into(),
            made_from: dir.join("made-from"),
        }
    }

    /// Whether they were made from just these sources.
    pub fn is_fresh(&self, sources: &Sources) -> bool {
        self.says(&sources.to_string())
    }

    /// Whether they were made from something of which `line` is the description.
    pub fn says(&self, line: &str) -> bool {
        fs::read_to_string(&self.made_from)
            .is_ok_and(|lines| lines.lines().any(|made_from| made_from == line))
    }
}

/// The files that the object is made of.
#[derive(Debug)]
pub struct Sources {
    workspace: PathBuf,
    files: Vec<PathBuf>,
}

impl Sources {
    /// Lists them.
    pub fn of(workspace: &Path) -> Result<Self, RecipeError> {
        let mut files = Vec::new();
        let mut pending: Vec<_> = SOURCES.iter().map(PathBuf::from).collect();
        while let Some(path) = pending.pop() {
            let full = workspace.join(&path);
            if full.is_dir() {
                for entry in fs::read_dir(&full).map_err(|e| error("cannot read", &full, &e))? {
                    let entry = entry.map_err(|e| error("cannot read", &full, &e))?;
                    pending.push(path.join(entry.file_name()));
                }
            } else {
                files.push(path);
            }
        }
        files.sort();
        Ok(Self {
            workspace: workspace.to_owned(),
            files,
        })
    }

    /// Names and contents in 64 bits (FNV-1a). It tells an old object from a fresh one, no more: that
    /// the object is what the sources build to is for `cargo xtask bpf --check` to say.
    fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut feed = |bytes: &[u8]| {
            for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for path in &self.files {
            feed(path.as_os_str().as_encoded_bytes());
            feed(&fs::read(self.workspace.join(path)).unwrap_or_default());
        }
        hash
    }
}

/// As it stands in `prebuilt/made-from`.
impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sources {:016x}", self.fingerprint())
    }
}
