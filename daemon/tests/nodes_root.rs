//! Inodes, names and directories: what the kernel knows by number is the right file, and nothing
//! is missing from a listing.

#[macro_use]
mod common;

#[path = "nodes_root/forget.rs"]
mod forget;
#[path = "nodes_root/identity.rs"]
mod identity;
#[path = "nodes_root/listing.rs"]
mod listing;
#[path = "nodes_root/names.rs"]
mod names;
