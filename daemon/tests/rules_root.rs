//! Rules: what is refused, limited, counted, and sent to the lane for bulk, on each transport.

#[macro_use]
mod common;

#[path = "rules_root/applied.rs"]
mod applied;
#[path = "rules_root/examples.rs"]
mod examples;
#[path = "rules_root/lane.rs"]
mod lane;
#[path = "rules_root/rules.rs"]
mod rules;
