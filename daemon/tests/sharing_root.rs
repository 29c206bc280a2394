//! One mount, many at once: threads, users, and those who change the lower directory behind it.

#[macro_use]
mod common;

#[path = "sharing_root/below.rs"]
mod below;
#[path = "sharing_root/owners.rs"]
mod owners;
#[path = "sharing_root/slow.rs"]
mod slow;
#[path = "sharing_root/special.rs"]
mod special;
#[path = "sharing_root/storm.rs"]
mod storm;
#[path = "sharing_root/submounts.rs"]
mod submounts;
