//! What this kernel and this user can do, what the rest would enable, and how to turn it on.
//!
//! Everything is tried rather than looked up where that leaves no trace: a FUSE file system that
//! is created and never attached, rings that are made and dropped, programs that are loaded and
//! let go.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`check`] | one line of the report |
//! | [`fuse`] | the device, the protocol, the ways to mount |
//! | [`ring`] | io_uring, and FUSE over it |
//! | [`bpf`] | program types, BTF, lockdown |
//! | [`trial`] | loading and attaching of trivial programs (unsafe) |
//! | [`ftrace`] | tracefs and the options of the kernel that tracing needs |
//! | [`kconfig`] | how the kernel was configured |
//! | [`detached`] | kernel file systems looked into without mounting them |
//! | [`changes`] | who reports changes of a directory behind a mount |
//! | [`report`] | the table, and the same as JSON |

pub mod bpf;
pub mod changes;
pub mod check;
pub mod detached;
pub mod ftrace;
pub mod fuse;
pub mod kconfig;
pub mod report;
pub mod ring;
pub mod trial;

pub use check::{Check, Status};
pub use report::Report;

use std::path::Path;

/// Tries everything; with a directory, also whether its changes are reported, for which a scratch
/// directory is made in it and removed.
pub fn examine(lower: Option<&Path>) -> Report {
    let kernel = rustix::system::uname();
    let kconfig = kconfig::KernelConfig::read(&kernel.release().to_string_lossy());
    let mut checks = fuse::examine();
    checks.extend(ring::examine());
    checks.extend(bpf::examine());
    checks.extend(ftrace::examine(kconfig.as_ref()));
    checks.extend(lower.map(changes::examine));
    Report {
        version: env!("CARGO_PKG_VERSION"),
        kernel: kernel.release().to_string_lossy().into_owned(),
        user_id: rustix::process::getuid().as_raw(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        checks,
    }
}
