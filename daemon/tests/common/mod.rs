//! What the tests on real mounts share. They know the daemon by its command line only.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`variant`] | the ways to mount, and the macro that makes a test of each |
//! | [`mount`] | a mounted temporary directory that cleans up after itself |
//! | [`daemon`] | the daemon's process: its log, its descriptors, its end |
//! | [`watchdog`] | what ends a test that hangs, and says where it hung |
//! | [`evidence`] | what can be seen of a test that waits |
//! | [`holdings`] | what a daemon holds of the kernel's BPF objects |
//! | [`acl`] | lists of access, as the kernel stores them |
//! | [`image`] | file systems made for a test |
//! | [`identity`] | acting as another user |
//! | [`load`] | work that goes on in the background until told to stop |
//! | [`tree`] | everything that can be known of a directory tree, to be compared |
//! | [`shell`] | programs run to their end |
//! | [`stat`] | what `shmfuse stat` says of a mount |
//! | [`child`] | pieces of a test run in another process |
//! | [`scale`] | how much of a long test to run |
//! | [`skip`] | tests that cannot run here, loudly |

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "every test binary compiles all of this and uses its own part of it"
)]

pub mod acl;
pub mod child;
pub mod daemon;
pub mod evidence;
pub mod holdings;
pub mod identity;
pub mod image;
pub mod load;
pub mod mount;
pub mod scale;
pub mod shell;
pub mod skip;
pub mod stat;
pub mod tree;
#[macro_use]
pub mod variant;
pub mod watchdog;

pub use acl::acl;
pub use daemon::Daemon;
pub use holdings::Holdings;
pub use mount::{LowerFs, MountBuilder, TestMount};
pub use shell::{bash, run, run_in};
pub use stat::{stat, try_stat};
pub use tree::{Tree, assert_same};
pub use variant::{Cache, Data, Transport, Variant};
pub use watchdog::{Watchdog, wait_until};

use std::time::Duration;

/// Longest that a test may take at scale 1 before the watchdog ends it. Generous: the machine may be busy
/// with other tests, and a test that hangs hangs for good.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Runs `test` on a mount of `variant`, under a watchdog.
pub fn on_mount(variant: Variant, name: &str, test: impl FnOnce(&TestMount)) {
    let name = format!("{}::{name}", variant.name());
    if let Err(reason) = variant.available() {
        return skip::skip(&name, &reason);
    }
    let _watchdog = Watchdog::start(&name, limit());
    let mount = TestMount::new(variant);
    test(&mount);
    mount.finish();
}

/// [`LIMIT`] at the scale that is run.
fn limit() -> Duration {
    LIMIT * u32::try_from(scale::factor()).expect("at most 1000")
}

/// Runs `test`, which makes its own mounts of `variant`, under a watchdog.
pub fn on_variant(variant: Variant, name: &str, test: impl FnOnce(Variant)) {
    let _watchdog = Watchdog::start(&format!("{}::{name}", variant.name()), limit());
    on_long_variant(variant, name, test);
}

/// Runs `test`, which makes its own mounts of `variant` and has a watchdog of its own.
pub fn on_long_variant(variant: Variant, name: &str, test: impl FnOnce(Variant)) {
    match variant.available() {
        Ok(()) => test(variant),
        Err(reason) => skip::skip(&format!("{}::{name}", variant.name()), &reason),
    }
}
