//! Rules and transformations: what a TOML file says of a mount's requests and replies.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`document`] | the file as it is written: `[[rule]]` tables, their keys, where each stands |
//! | [`values`] | what keys may say: sets of requests, ranges, sizes, rates, errnos |
//! | [`spec`] | a file that has been checked |
//! | [`transform`] | `[[transform]]` tables: what is shown otherwise than it is below |
//! | [`draft`] | a checked file as the words of a rule book |
//! | [`book`] | a mount's rule book in memory: of a BPF map, or of the daemon alone |
//! | [`access`] | the rule book of a mount that another process serves |
//! | [`serving`] | the rules of the mount that this process serves |
//! | [`listing`] | what is said of rules in force |
//!
//! ```text
//!  FILE ─► document ─► spec ─► draft ─► book ◄── kernel program, daemon: transport::rules::judge
//!           keys, lines  checked   words   └─► text of the file, counters ─► listing
//! ```
//!
//! A file is applied as a whole or not at all: what is wrong with it is found before the book is touched.

pub mod access;
pub mod book;
pub mod document;
pub mod draft;
pub mod listing;
#[cfg(test)]
mod properties;
pub mod serving;
pub mod spec;
pub mod transform;
pub mod values;
