//! What docs/reliability.md has in its table and no other test shows: faults of the lower file system, of the
//! machine's resources, and of the daemon. Nothing hangs, nothing that fsync(2) acknowledged is lost, errors
//! are those of the lower file system.

#[macro_use]
mod common;

#[path = "reliability_root/daemon.rs"]
mod daemon;
#[path = "reliability_root/lower.rs"]
mod lower;
#[path = "reliability_root/openers.rs"]
mod openers;
#[path = "reliability_root/pauses.rs"]
mod pauses;
#[path = "reliability_root/resources.rs"]
mod resources;
#[path = "reliability_root/shapes.rs"]
mod shapes;
#[path = "reliability_root/waits.rs"]
mod waits;
