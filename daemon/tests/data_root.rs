//! Open files on a real mount: how they are opened, what their flags mean, and what is known of
//! them besides their content. Most tests do a thing on the mount and on a plain directory, and
//! compare.

#[macro_use]
mod common;

#[path = "data_root/appended.rs"]
mod appended;
#[path = "data_root/attributes.rs"]
mod attributes;
#[path = "data_root/kept.rs"]
mod kept;
#[path = "data_root/limits.rs"]
mod limits;
#[path = "data_root/merged.rs"]
mod merged;
#[path = "data_root/modes.rs"]
mod modes;
#[path = "data_root/stacked.rs"]
mod stacked;
#[path = "data_root/status_flags.rs"]
mod status_flags;
#[path = "data_root/unnamed.rs"]
mod unnamed;
