//! INIT: what kernel and daemon agree on.
//!
//! Every capability of the protocol stands in [`CAPABILITIES`] with the condition under which it
//! is asked for, or the reason why it is not. A capability that the daemon could not honour is
//! never agreed to.

use super::Negotiated;
use crate::{
    config::{CachePolicy, Config, DataChoice, TransportChoice, TransportKind},
    error::{Error, Result},
};
use transport::wire::{
    InitFlags, InitIn, InitOut, KERNEL_MINOR_VERSION, KERNEL_MINOR_VERSION_MIN, KERNEL_VERSION,
};

/// The page size by which the protocol counts.
const PAGE: usize = 4096;
/// A reply's times are exact to this many nanoseconds.
const TIME_GRAN_NS: u32 = 1;

/// The most that a request or reply carries on this daemon's transports, in bytes: 256 pages, what
/// the kernel allows by default (`FUSE_DEFAULT_MAX_PAGES_LIMIT`, fs/fuse/fuse_i.h).
pub const PAYLOAD_MAX: usize = 256 * PAGE;

/// When a capability is asked for.
#[derive(Clone, Copy)]
enum Want {
    /// If the kernel offers it.
    Always,
    /// If the kernel offers it and this holds.
    If(fn(&Wishes<'_>) -> bool),
    /// Never.
    No,
}

/// What decides about capabilities.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// The mount's configuration.
    pub config: &'a Config,
    /// How requests are to travel.
    pub kind: TransportKind,
    /// How many stacking file systems are below the lower directory: 0 for ext4, 1 for overlayfs.
    pub lower_stack_depth: u32,
    /// The most that a request or reply can carry, in bytes: what a pipe of the splice transport
    /// holds, at most [`PAYLOAD_MAX`].
    pub payload_max: usize,
}

/// A capability, when it is asked for, and why then or why not.
struct Capability(
    InitFlags,
    Want,
    #[allow(dead_code, reason = "shown in logs")] &'static str,
);

/// Every capability of protocol 7.45, in the order of its bits.
const CAPABILITIES: &[Capability] = {
    use InitFlags as F;
    use Want::{Always, If, No};
    &[
        Capability(
            F::ASYNC_READ,
            Always,
            "readahead need not wait for the page before",
        ),
        Capability(
            F::POSIX_LOCKS,
            Always,
            "locks of fcntl(2) are the lower file's",
        ),
        Capability(
            F::ATOMIC_O_TRUNC,
            Always,
            "OPEN truncates: no SETATTR in between",
        ),
        Capability(
            F::EXPORT_SUPPORT,
            Always,
            "LOOKUP of \".\" and \"..\" is answered",
        ),
        Capability(F::BIG_WRITES, Always, "a WRITE carries more than a page"),
        Capability(
            F::DONT_MASK,
            Always,
            "the umask is applied below: a default ACL overrides it",
        ),
        Capability(F::SPLICE_WRITE, If(is_splice), "replies come from a pipe"),
        Capability(
            F::SPLICE_MOVE,
            No,
            "moving pages would take them from the lower page cache",
        ),
        Capability(
            F::SPLICE_READ,
            If(is_splice),
            "requests are read into a pipe",
        ),
        Capability(
            F::FLOCK_LOCKS,
            Always,
            "locks of flock(2) are the lower file's",
        ),
        Capability(
            F::HAS_IOCTL_DIR,
            Always,
            "directories have attributes to get and set, too",
        ),
        Capability(
            F::AUTO_INVAL_DATA,
            Always,
            "a changed mtime or size drops cached pages",
        ),
        Capability(F::DO_READDIRPLUS, Always, "a listing brings attributes"),
        Capability(
            F::READDIRPLUS_AUTO,
            Always,
            "but only when they are looked at",
        ),
        Capability(
            F::ASYNC_DIO,
            Always,
            "direct I/O is split into requests side by side",
        ),
        Capability(
            F::WRITEBACK_CACHE,
            No,
            "the kernel would hold sizes and times that the lower file does not have; forbidden with PASSTHROUGH",
        ),
        Capability(
            F::NO_OPEN_SUPPORT,
            No,
            "an announcement of the kernel's; OPEN is answered",
        ),
        Capability(
            F::PARALLEL_DIROPS,
            Always,
            "LOOKUP and READDIR in one directory run side by side",
        ),
        Capability(
            F::HANDLE_KILLPRIV,
            No,
            "clears suid and capabilities where a local file system would not: V2 is exact",
        ),
        Capability(
            F::POSIX_ACL,
            If(checks_permissions),
            "ACLs are the lower file's; the kernel checks by them, which it does only under default_permissions",
        ),
        Capability(
            F::ABORT_ERROR,
            Always,
            "an aborted connection can be told from an unmounted one",
        ),
        Capability(F::MAX_PAGES, Always, "requests larger than 32 pages"),
        Capability(
            F::CACHE_SYMLINKS,
            If(has_ttl),
            "a link's target may be believed; strict asks each time",
        ),
        Capability(
            F::NO_OPENDIR_SUPPORT,
            No,
            "an announcement of the kernel's; OPENDIR is answered",
        ),
        Capability(F::EXPLICIT_INVAL_DATA, No, "excludes AUTO_INVAL_DATA"),
        Capability(F::MAP_ALIGNMENT, No, "DAX is for virtual machines"),
        Capability(
            F::SUBMOUNTS,
            Always,
            "mounts below the lower directory have device numbers of their own",
        ),
        Capability(
            F::HANDLE_KILLPRIV_V2,
            Always,
            "suid and sgid are cleared where the kernel says so: a write needs no GETXATTR",
        ),
        Capability(
            F::SETXATTR_EXT,
            Always,
            "SETXATTR of an ACL says whether to clear sgid",
        ),
        Capability(F::INIT_EXT, Always, "INIT has 64 bits of capabilities"),
        Capability(
            F::SECURITY_CTX,
            No,
            "labels are the lower file system's to give",
        ),
        Capability(F::HAS_INODE_DAX, No, "DAX is for virtual machines"),
        Capability(
            F::CREATE_SUPP_GROUP,
            Always,
            "a creator's group that owns a setgid directory is named",
        ),
        Capability(F::HAS_EXPIRE_ONLY, No, "an announcement of the kernel's"),
        Capability(
            F::DIRECT_IO_ALLOW_MMAP,
            Always,
            "a file opened for direct I/O can be mapped",
        ),
        Capability(
            F::PASSTHROUGH,
            If(wants_passthrough),
            "the kernel reads and writes lower files by itself",
        ),
        Capability(F::NO_EXPORT_SUPPORT, No, "file handles are of use"),
        Capability(
            F::HAS_RESEND,
            No,
            "an announcement of the kernel's; no daemon takes over from another",
        ),
        Capability(
            F::ALLOW_IDMAP,
            No,
            "the lower directory's owners are shown as they are",
        ),
        Capability(
            F::OVER_IO_URING,
            If(is_uring),
            "requests come over io_uring",
        ),
        Capability(
            F::REQUEST_TIMEOUT,
            No,
            "waiting for a lock may take any time",
        ),
    ]
};

fn is_splice(wishes: &Wishes<'_>) -> bool {
    wishes.kind == TransportKind::Splice
}

fn is_uring(wishes: &Wishes<'_>) -> bool {
    wishes.kind == TransportKind::Uring
}

fn has_ttl(wishes: &Wishes<'_>) -> bool {
    matches!(wishes.config.cache, CachePolicy::Ttl(ttl) if !ttl.is_zero())
}

fn checks_permissions(wishes: &Wishes<'_>) -> bool {
    wishes.config.mount.default_permissions
}

fn wants_passthrough(wishes: &Wishes<'_>) -> bool {
    wishes.config.data != DataChoice::Copy && wishes.lower_stack_depth < STACK_DEPTH_MAX
}

/// The deepest stack of file systems there can be (`FILESYSTEM_MAX_STACK_DEPTH`,
/// include/linux/fs.h).
const STACK_DEPTH_MAX: u32 = 2;

/// Refuses a kernel that is too old.
///
/// # Errors
///
/// [`Error::Unsupported`].
pub fn check_version(init: &InitIn) -> Result<()> {
    if init.major == KERNEL_VERSION && init.minor >= KERNEL_MINOR_VERSION_MIN {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!(
            "the kernel speaks FUSE {}.{}; {KERNEL_VERSION}.{KERNEL_MINOR_VERSION_MIN} is the oldest that is understood",
            init.major, init.minor
        ),
        remedy: "Linux 5.17 or newer is needed".into(),
    })
}

/// The transport and the answer to INIT.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    /// How requests will travel: `wishes.kind`, or classic if the kernel has no io_uring for FUSE
    /// and the choice is ours.
    pub kind: TransportKind,
    /// What to reply.
    pub reply: InitOut,
    /// What was agreed on.
    pub negotiated: Negotiated,
}

/// Decides what to answer to `init`.
///
/// # Errors
///
/// [`Error::Unsupported`]: the kernel is too old, or lacks what the configuration insists on.
pub fn agree(init: &InitIn, wishes: &Wishes<'_>) -> Result<Agreement> {
    check_version(init)?;
    let offered = InitFlags::from_words(init.flags, init.flags2);
    let kind = transport_kind(offered, wishes)?;
    let wishes = &Wishes { kind, ..*wishes };
    check_passthrough(offered, wishes)?;

    let config = wishes.config;
    let flags = offered & wanted(offered, wishes);
    let minor = init.minor.min(KERNEL_MINOR_VERSION);
    let max_write = max_write(wishes);
    let max_pages = max_pages(max_write, init.max_readahead, wishes.payload_max);
    let max_stack_depth = if flags.contains(InitFlags::PASSTHROUGH) {
        wishes.lower_stack_depth + 1
    } else {
        0
    };
    let reply = InitOut {
        major: KERNEL_VERSION,
        minor,
        max_readahead: init.max_readahead,
        flags: flags.low(),
        flags2: flags.high(),
        max_background: config.max_background,
        congestion_threshold: congestion_threshold(config.max_background),
        max_write,
        time_gran: TIME_GRAN_NS,
        max_pages,
        max_stack_depth,
        ..InitOut::default()
    };
    let negotiated = Negotiated {
        minor,
        flags,
        max_write,
        max_pages,
    };
    Ok(Agreement {
        kind,
        reply,
        negotiated,
    })
}

impl Capability {
    fn is_wanted(&self, wishes: &Wishes<'_>) -> bool {
        match self.1 {
            Want::Always => true,
            Want::If(holds) => holds(wishes),
            Want::No => false,
        }
    }
}

/// What is asked for if the kernel offers it.
fn wanted(offered: InitFlags, wishes: &Wishes<'_>) -> InitFlags {
    let mut wanted = InitFlags::empty();
    for capability in CAPABILITIES {
        let Capability(flag, _, reason) = capability;
        let (is_offered, is_wanted) = (offered.contains(*flag), capability.is_wanted(wishes));
        tracing::debug!(?flag, is_offered, is_wanted, reason, "capability");
        wanted.set(*flag, is_wanted);
    }
    wanted
}

fn transport_kind(offered: InitFlags, wishes: &Wishes<'_>) -> Result<TransportKind> {
    if wishes.kind != TransportKind::Uring || offered.contains(InitFlags::OVER_IO_URING) {
        return Ok(wishes.kind);
    }
    let what = "this kernel does not carry FUSE over io_uring";
    let remedy = "Linux 6.14 or newer with CONFIG_FUSE_IO_URING=y, and 'echo Y > /sys/module/fuse/parameters/enable_uring' before the mount";
    if wishes.config.transport == TransportChoice::Auto {
        tracing::info!("{what} ({remedy}): classic /dev/fuse serves instead");
        return Ok(TransportKind::Classic);
    }
    Err(Error::Unsupported {
        what: what.into(),
        remedy: remedy.into(),
    })
}

fn check_passthrough(offered: InitFlags, wishes: &Wishes<'_>) -> Result<()> {
    if wishes.config.data == DataChoice::Copy {
        return Ok(());
    }
    let (what, remedy) = if !offered.contains(InitFlags::PASSTHROUGH) {
        (
            "this kernel has no FUSE passthrough",
            "Linux 6.9 or newer with CONFIG_FUSE_PASSTHROUGH=y is needed; '--data copy' works without",
        )
    } else if wishes.lower_stack_depth >= STACK_DEPTH_MAX {
        (
            "the lower directory's file system is stacked too deep for passthrough",
            "'--data copy' works without",
        )
    } else {
        return Ok(());
    };
    if wishes.config.data == DataChoice::Auto {
        tracing::info!("{what}: data goes through the daemon");
        return Ok(());
    }
    Err(Error::Unsupported {
        what: what.into(),
        remedy: remedy.into(),
    })
}

/// What was configured, or what the transport holds if that is less.
fn max_write(wishes: &Wishes<'_>) -> u32 {
    let configured = wishes.config.max_write;
    let possible = u32::try_from(wishes.payload_max).unwrap_or(u32::MAX);
    if configured > possible {
        tracing::info!("WRITEs are limited to {possible} bytes, which is what a pipe holds");
    }
    configured.min(possible)
}

/// Pages for the largest WRITE or the largest readahead, whichever is more, but no more than the
/// transport holds. The kernel cuts it to fs.fuse.max_pages_limit.
fn max_pages(max_write: u32, max_readahead: u32, payload_max: usize) -> u16 {
    let largest = (max_write.max(max_readahead) as usize).min(payload_max);
    u16::try_from(largest.div_ceil(PAGE)).unwrap_or(u16::MAX)
}

/// The kernel holds back readahead when three quarters of the background requests are under way,
/// its own default ratio (`FUSE_DEFAULT_CONGESTION_THRESHOLD`, fs/fuse/inode.c).
fn congestion_threshold(max_background: u16) -> u16 {
    (u32::from(max_background) * 3 / 4).max(1) as u16
}
