//! The checked configuration of one mount.
//!
//! The command line (and `mount -o`) is turned into a [`Config`] once; everything behind it relies
//! on what stands here and checks nothing again.

use crate::{
    delay::LowerDelay,
    error::{Error, Result},
    mount::table::DeviceNumber,
    rules::spec::Spec,
};
use std::{
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

pub use transport::cq::Engine;

/// Everything one mount is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The lower directory: absolute, exists, is a directory.
    pub lower: PathBuf,
    /// How many stacking file systems (overlayfs, FUSE) it lies on, as far as its type tells.
    pub lower_stack_depth: u32,
    /// Where it is mounted: absolute, exists, is a directory.
    pub mountpoint: PathBuf,
    /// How requests reach the daemon.
    pub transport: TransportChoice,
    /// Which engine runs the shm transport.
    pub engine: Engine,
    /// Milliseconds that the kernel engine's poll threads poll in vain before they sleep, 1 ..= 60000.
    pub poll_idle_ms: u32,
    /// How file data reaches applications.
    pub data: DataChoice,
    /// How long the kernel may believe what it was told.
    pub cache: CachePolicy,
    /// Coherent was asked for, no source of changes is proven, and `cache` is what is taken instead.
    pub unproven: bool,
    /// Files are opened by the kernel alone, and their pages stay: no OPEN, FLUSH, RELEASE. Data is
    /// copied, and names and attributes are believed for a while.
    pub no_open: bool,
    /// Whose locks those of fcntl(2) are.
    pub locks: LocksOf,
    /// The kernel collects writes and keeps sizes and times until it sends them. Data is copied, and
    /// names and attributes are believed for a while.
    pub writeback: bool,
    /// Threads that serve requests on classic and splice, 1 ..= 1024. The ring transports have one
    /// per possible CPU, as the kernel demands.
    pub threads: usize,
    /// Ring entries per queue, 1 ..= 256 (uring and shm).
    pub queue_depth: usize,
    /// Largest WRITE in bytes, a multiple of 4096, 4096 ..= 1 MiB.
    pub max_write: u32,
    /// Requests the kernel sends in the background (readahead, asynchronous direct I/O), 1 ..= 65535.
    pub max_background: u16,
    /// What the mount allows and forbids.
    pub mount: MountOptions,
    /// Bytes of each payload that lie in a map (shm), a multiple of 4096, 4096 ..= 1 MiB; all of it if
    /// the payload is no longer.
    pub head_len: usize,
    /// Bytes that rings and payloads may take (shm); none given: a quarter of the machine's memory.
    pub memory_max: Option<u64>,
    /// Whether kernel programs answer requests from what they have been told (shm).
    pub s1: bool,
    /// What is loaded before it is asked for.
    pub s2: S2,
    /// Whether adjacent READs and WRITEs that wait in a queue at one time are merged (uring and shm).
    pub s5: bool,
    /// Facts that they are told at most, 1 ..= 4194304.
    pub s1_entries: u32,
    /// Whether kernel programs renew what has become untrue from the daemon's replies.
    pub s6: bool,
    /// Names that cannot be looked up, each with its errno.
    pub deny: Vec<Denied>,
    /// What is to become of requests, by rules that may be replaced later.
    pub rules: Option<Spec>,
    /// Seconds after which the kernel ends a mount one of whose requests has no answer.
    pub request_timeout: Option<NonZero<u16>>,
    /// Where numbers for Prometheus are told.
    pub metrics: Option<SocketAddr>,
    /// Requests that take longer are served beside their queue, when it happens again; none given:
    /// never.
    pub slow_after: Option<Duration>,
    /// A parent process replaces a daemon that died.
    pub supervise: bool,
    /// The mount of a daemon that died, which gives way to this one.
    pub replaces: Option<DeviceNumber>,
    /// This program, to be started anew for what the daemon cannot do itself: as the undertaker of a mount whose
    /// caches are revoked ([`crate::mount::undertaker`]; without one, users of the mount of a daemon that is
    /// killed may hang), and to ask whether the mount answers ([`crate::probe`]; without, nobody asks).
    pub program: Option<PathBuf>,
    /// Slows lower operations down: for tests of what does not wait for them.
    pub lower_delay: Option<LowerDelay>,
    /// Sends replies late: for tests of what overtakes them.
    pub reply_delay: Option<LowerDelay>,
    /// A kind of change that the self-test of sources takes for not reported: for tests of what
    /// becomes of a source that misses something.
    pub selftest_misses: Option<String>,
}

impl Config {
    /// The plainest mount of `lower` at `mountpoint`: data copied, nothing believed, one thread, one
    /// entry a queue, on the transport that is found. What is to be otherwise is set in the result.
    pub fn plain(lower: impl Into<PathBuf>, mountpoint: impl Into<PathBuf>) -> Self {
        Self {
            lower: lower.into(),
            lower_stack_depth: 0,
            mountpoint: mountpoint.into(),
            transport: TransportChoice::Auto,
            data: DataChoice::Copy,
            cache: CachePolicy::Strict,
            unproven: false,
            no_open: false,
            locks: LocksOf::Lower,
            writeback: false,
            threads: 1,
            queue_depth: 1,
            max_write: 1 << 20,
            max_background: 12,
            mount: MountOptions::default(),
            head_len: 4096,
            memory_max: None,
            s1: true,
            s2: S2::Prefetch,
            s5: true,
            s1_entries: crate::serve::shm::sizing::DEFAULT_FACTS,
            s6: false,
            deny: Vec::new(),
            rules: None,
            request_timeout: None,
            metrics: None,
            slow_after: Some(Duration::from_millis(2)),
            supervise: false,
            replaces: None,
            program: None,
            lower_delay: None,
            reply_delay: None,
            selftest_misses: None,
            engine: Engine::Worker,
            poll_idle_ms: 1,
        }
    }
}

/// What is loaded before it is asked for: `--s2`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum S2 {
    /// Nothing.
    Off,
    /// With a listing the attributes of what is listed (READDIRPLUS).
    Readdirplus,
    /// That, and directories that are likely to be next, where kernel programs answer.
    Prefetch,
}

/// A name that cannot be looked up in any directory: `--deny`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// Without a slash, 1 ..= 224 bytes.
    pub name: Vec<u8>,
    /// A positive number below 512.
    pub errno: i32,
}

/// How many stacking file systems are at `path`, as far as its type tells. To be asked before the
/// mount: afterwards the path may lead into it.
///
/// # Errors
///
/// What statfs(2) says.
pub fn stack_depth(path: &Path) -> Result<u32> {
    /// `OVERLAYFS_SUPER_MAGIC`, `ECRYPTFS_SUPER_MAGIC`, `FUSE_SUPER_MAGIC`
    /// (include/uapi/linux/magic.h; fs/fuse/inode.c).
    const STACKING: [i64; 3] = [0x794c_7630, 0xf15f, 0x6573_5546];
    let stat =
        rustix::fs::statfs(path).map_err(|errno| Error::path("cannot examine", path, errno))?;
    Ok(u32::from(STACKING.contains(&(stat.f_type as i64))))
}

/// `--transport`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportChoice {
    /// The fastest that this kernel and user can have; which one is logged.
    Auto,
    /// This one or an error.
    Only(TransportKind),
}

/// The transports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransportKind {
    /// read(2) and write(2) on `/dev/fuse`.
    Classic,
    /// The same, data by splice(2).
    Splice,
    /// FUSE-over-io_uring, entries in private memory.
    Uring,
    /// FUSE-over-io_uring, entries and rings in maps shared with kernel programs.
    Shm,
}

impl TransportKind {
    /// Every transport, the slowest first.
    pub const ALL: [Self; 4] = [Self::Classic, Self::Splice, Self::Uring, Self::Shm];

    /// Whether requests travel through FUSE-over-io_uring.
    pub const fn is_ring(self) -> bool {
        matches!(self, Self::Uring | Self::Shm)
    }

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Splice => "splice",
            Self::Uring => "uring",
            Self::Shm => "shm",
        }
    }
}

/// `--data`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataChoice {
    /// Passthrough where the kernel and the lower file system allow it, else copy; small files that
    /// are read again are copied where their pages may stay (`passthrough::reread`).
    Auto,
    /// Through the daemon.
    Copy,
    /// By the kernel from the lower file, past the daemon (`FOPEN_PASSTHROUGH`); a mount that
    /// cannot have it is an error, a file that cannot is served by copy.
    Passthrough,
}

/// `--locks`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocksOf {
    /// The lower file's: they exclude processes that work on the lower directory.
    Lower,
    /// The mount's own, kept by the kernel: they exclude its users alone, and closing a file needs no
    /// request for their sake.
    Mount,
}

impl FromStr for LocksOf {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "lower" => Ok(Self::Lower),
            "mount" => Ok(Self::Mount),
            _ => Err("neither lower nor mount"),
        }
    }
}

/// `--cache`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// Timeouts 0: the kernel asks each time.
    Strict,
    /// Names and attributes are believed for long, and revoked when the lower directory changes;
    /// strict where no source of changes is proven (docs/coherence.md).
    Coherent,
    /// Names and attributes are believed for this long.
    Ttl(Duration),
}

impl CachePolicy {
    /// The validity that replies carry where nothing revokes them.
    pub const fn ttl(self) -> Duration {
        match self {
            Self::Strict | Self::Coherent => Duration::ZERO,
            Self::Ttl(ttl) => ttl,
        }
    }
}

impl std::fmt::Display for CachePolicy {
    /// As on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Strict => f.write_str("strict"),
            Self::Coherent => f.write_str("coherent"),
            Self::Ttl(ttl) => write!(f, "ttl={}", ttl.as_secs_f64()),
        }
    }
}

/// `-o`.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Users other than the one who mounted may enter.
    pub allow_other: bool,
    /// The kernel checks permissions from mode and ACL.
    pub default_permissions: bool,
    /// No changes.
    pub read_only: bool,
    /// Set-user-id and set-group-id programs take effect (off by default).
    pub suid: bool,
    /// Device files work (off by default).
    pub dev: bool,
    /// Programs can be executed.
    pub exec: bool,
    /// `noatime`.
    pub noatime: bool,
    /// `nodiratime`.
    pub nodiratime: bool,
    /// `sync`.
    pub synchronous: bool,
    /// `dirsync`.
    pub dirsync: bool,
    /// Shown as the source in /proc/mounts; default: the lower directory.
    pub fsname: Option<String>,
    /// Largest READ in bytes; 0: no limit of ours.
    pub max_read: u32,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            allow_other: false,
            default_permissions: true,
            read_only: false,
            suid: false,
            dev: false,
            exec: true,
            noatime: false,
            nodiratime: false,
            synchronous: false,
            dirsync: false,
            fsname: None,
            max_read: 0,
        }
    }
}
