//! Which requests the kernel sends, counted by its own tracepoint.

#[macro_use]
mod common;

#[path = "requests_root/killpriv.rs"]
mod killpriv;
#[path = "requests_root/paths.rs"]
mod paths;
#[path = "requests_root/trace.rs"]
mod trace;
#[path = "requests_root/writes.rs"]
mod writes;
