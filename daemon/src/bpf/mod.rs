//! The kernel's half, seen from user space: load it, name the mount it is to watch, read what it
//! counts.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`load`] | the programs of one mount: load, attach, let go |
//! | [`btf`] | the kernel's description of its own types |
//! | [`offsets`] | where the fields of the structures lie that programs read |
//! | [`mapping`] | array maps as memory of this process (unsafe) |
//! | [`ledger`] | which requests the daemon has, by its own account |
//! | [`shared`] | the memory of the ring protocol, mapped and stitched (unsafe) |
//! | [`caches`] | the caches that the programs answer from |
//! | [`words`] | array maps that this process writes too: generations (unsafe) |
//! | [`observe`] | the maps of another process, to be read |
//! | [`changes`] | what others change on the lower file system, as the programs report it (unsafe) |
//! | [`trace`] | the programs that tell the life of requests |
//! | [`counters`] | the counted requests, added up over the CPUs |
//!
//! Every [`Programs`] is an instance of its own, with maps of its own: several mounts, in one
//! daemon or in many, do not mix. The kernel holds programs and maps by the descriptors of
//! this process alone; nothing is pinned, so nothing is left when the process is gone.

pub mod btf;
pub mod caches;
pub mod changes;
pub mod counters;
pub mod ledger;
pub mod load;
pub mod mapping;
pub mod observe;
pub mod offsets;
pub mod shared;
pub mod trace;
pub mod words;

pub use caches::{CacheMaps, CacheSizes};
pub use counters::{Counters, OpcodeCounts, Snapshot};
pub use load::Programs;
pub use shared::{SharedMemory, Sizes};
pub use words::Generations;
