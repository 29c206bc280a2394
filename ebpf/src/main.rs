//! What runs in the kernel.
//!
//! Division of labour: these programs are called for every request of every FUSE mount of the
//! machine, keep to the mount of the daemon that loaded them, and count. The one of the shared-memory
//! transport answers what it finds in the caches, and hands the rest to the daemon. The daemon loads an instance of its own of all programs
//! and maps for each mount, finds where the kernel's fields lie, names the mount
//! (`request::MOUNT`), and maps the counters (`stats::STATS`). When it dies its descriptors close,
//! and all this is gone.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`caches`] | the maps of facts and of look-ups |
//! | [`generations`] | the map of generations |
//! | [`rules`] | the map of rules |
//! | [`programs`] | one hook a file |
//! | [`request`] | the kernel's `struct fuse_req`, as far as we read it (unsafe) |
//! | [`changes`] | what others change on the lower file system (unsafe) |
//! | [`stats`] | the maps of starts and counters (unsafe: helpers) |
//!
//! A panic has nowhere to go: `cargo xtask bpf` refuses an object in which one is left. Indices are
//! masked or compared before use, additions wrap.
#![no_std]
#![no_main]

mod caches;
mod changes;
mod generations;
mod programs;
mod request;
mod rules;
mod shm;
mod stats;

/// The kernel's helpers for tracing are for GPL-compatible programs only.
#[expect(unsafe_code, reason = "the kernel's loader looks for this section")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The language asks for it; nothing calls it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
