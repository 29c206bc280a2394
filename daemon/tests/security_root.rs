//! What docs/security.md claims, on real mounts.

#[macro_use]
mod common;

#[path = "security_root/escape.rs"]
mod escape;
#[path = "security_root/privilege.rs"]
mod privilege;
#[path = "security_root/reach.rs"]
mod reach;
#[path = "security_root/users.rs"]
mod users;
