//! The capabilities of the protocol: each with the condition under which it is asked for, or the
//! reason why it is not. One that the daemon could not honour is never agreed to.

use crate::config::{CachePolicy, Config, DataChoice, LocksOf, S2, TransportKind};
use transport::wire::InitFlags;

/// What decides about capabilities.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// The mount's configuration.
    pub config: &'a Config,
    /// How requests are to travel.
    pub kind: TransportKind,
    /// The most that a request or reply can carry, in bytes: what a pipe of the splice transport
    /// holds, at most [`PAYLOAD_MAX`](super::negotiate::PAYLOAD_MAX).
    pub payload_max: usize,
}

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

/// A capability, when it is asked for, and why then or why not.
struct Capability(InitFlags, Want, &'static str);

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
            If(locks_below),
            "locks of fcntl(2) are the lower file's (--locks); without FLUSH and RELEASE nobody would give them up",
        ),
        Capability(
            F::ATOMIC_O_TRUNC,
            If(opens),
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
            If(opens),
            "locks of flock(2) are the lower file's; without FLUSH and RELEASE nobody would give them up",
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
        Capability(
            F::DO_READDIRPLUS,
            If(prefetches),
            "a listing brings attributes, and spares a look-up for each",
        ),
        Capability(
            F::READDIRPLUS_AUTO,
            If(prefetches),
            "but only when they are looked at",
        ),
        Capability(
            F::ASYNC_DIO,
            Always,
            "direct I/O is split into requests side by side",
        ),
        Capability(
            F::WRITEBACK_CACHE,
            If(writes_back),
            "the kernel holds sizes and times that the lower file does not have yet; forbidden with PASSTHROUGH",
        ),
        Capability(
            F::NO_OPEN_SUPPORT,
            No,
            "an announcement of the kernel's: an OPEN answered ENOSYS is the last (--no-open)",
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
            "an announcement of the kernel's: an OPENDIR answered ENOSYS is the last (--cache coherent)",
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
        Capability(F::OVER_IO_URING, If(is_ring), "requests come over io_uring"),
        Capability(
            F::REQUEST_TIMEOUT,
            If(times_out),
            "--request-timeout; else never, for waiting for a lock may take any time",
        ),
    ]
};

fn times_out(wishes: &Wishes<'_>) -> bool {
    wishes.config.request_timeout.is_some()
}

fn is_splice(wishes: &Wishes<'_>) -> bool {
    wishes.kind == TransportKind::Splice
}

fn is_ring(wishes: &Wishes<'_>) -> bool {
    wishes.kind.is_ring()
}

fn opens(wishes: &Wishes<'_>) -> bool {
    !wishes.config.no_open
}

fn locks_below(wishes: &Wishes<'_>) -> bool {
    opens(wishes) && wishes.config.locks == LocksOf::Lower
}

fn writes_back(wishes: &Wishes<'_>) -> bool {
    wishes.config.writeback
}

fn has_ttl(wishes: &Wishes<'_>) -> bool {
    match wishes.config.cache {
        CachePolicy::Strict => false,
        CachePolicy::Coherent => true,
        CachePolicy::Ttl(ttl) => !ttl.is_zero(),
    }
}

fn prefetches(wishes: &Wishes<'_>) -> bool {
    wishes.config.s2 != S2::Off
}

fn checks_permissions(wishes: &Wishes<'_>) -> bool {
    wishes.config.mount.default_permissions
}

fn wants_passthrough(wishes: &Wishes<'_>) -> bool {
    wishes.config.data != DataChoice::Copy && wishes.config.lower_stack_depth < STACK_DEPTH_MAX
}

/// The deepest stack of file systems there can be (`FILESYSTEM_MAX_STACK_DEPTH`,
/// include/linux/fs.h).
pub const STACK_DEPTH_MAX: u32 = 2;

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
pub fn wanted(offered: InitFlags, wishes: &Wishes<'_>) -> InitFlags {
    let mut wanted = InitFlags::empty();
    for capability in CAPABILITIES {
        let Capability(flag, _, reason) = capability;
        let (is_offered, is_wanted) = (offered.contains(*flag), capability.is_wanted(wishes));
        tracing::debug!(?flag, is_offered, is_wanted, reason, "capability");
        wanted.set(*flag, is_wanted);
    }
    wanted
}
