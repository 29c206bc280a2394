//! INIT: what kernel and daemon agree on.

use super::{
    Negotiated,
    capabilities::{STACK_DEPTH_MAX, Wishes, wanted},
};
use crate::{
    config::{DataChoice, TransportChoice, TransportKind},
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
    check_timeout(offered, wishes)?;

    let config = wishes.config;
    let flags = offered & wanted(offered, wishes);
    let minor = init.minor.min(KERNEL_MINOR_VERSION);
    let max_write = max_write(wishes);
    let max_pages = max_pages(max_write, init.max_readahead, wishes.payload_max);
    let max_stack_depth = if flags.contains(InitFlags::PASSTHROUGH) {
        wishes.config.lower_stack_depth + 1
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
        request_timeout: match config.request_timeout {
            Some(seconds) if flags.contains(InitFlags::REQUEST_TIMEOUT) => seconds.get(),
            _ => 0,
        },
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

fn transport_kind(offered: InitFlags, wishes: &Wishes<'_>) -> Result<TransportKind> {
    if !wishes.kind.is_ring() || offered.contains(InitFlags::OVER_IO_URING) {
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
    } else if wishes.config.lower_stack_depth >= STACK_DEPTH_MAX {
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

fn check_timeout(offered: InitFlags, wishes: &Wishes<'_>) -> Result<()> {
    if wishes.config.request_timeout.is_none() || offered.contains(InitFlags::REQUEST_TIMEOUT) {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: "this kernel does not time requests out".into(),
        remedy: "Linux 6.15 or newer is needed for --request-timeout".into(),
    })
}

/// What was configured, or what the transport holds if that is less.
fn max_write(wishes: &Wishes<'_>) -> u32 {
    let configured = wishes.config.max_write;
    let possible = u32::try_from(wishes.payload_max).unwrap_or(u32::MAX);
    if configured > possible {
        tracing::info!(
            "WRITEs are limited to {possible} bytes, which is what a pipe holds (fs.pipe-max-size)"
        );
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
