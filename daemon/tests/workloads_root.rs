//! Real work on real mounts: what comes out equals the same done on a plain directory.

#[macro_use]
mod common;

#[path = "workloads_root/append.rs"]
mod append;
#[path = "workloads_root/build.rs"]
mod build;
#[path = "workloads_root/database.rs"]
mod database;
#[path = "workloads_root/direct.rs"]
mod direct;
#[path = "workloads_root/git.rs"]
mod git;
#[path = "workloads_root/mapped.rs"]
mod mapped;
#[path = "workloads_root/sparse.rs"]
mod sparse;
#[path = "workloads_root/trees.rs"]
mod trees;
