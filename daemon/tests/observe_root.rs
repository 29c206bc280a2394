//! What an operator sees of a mount: `shmfuse trace`, `top`, metrics.

#[macro_use]
mod common;

#[path = "observe_root/metrics.rs"]
mod metrics;
#[path = "observe_root/top.rs"]
mod top;
#[path = "observe_root/trace.rs"]
mod trace;
#[path = "observe_root/viewer.rs"]
mod viewer;
