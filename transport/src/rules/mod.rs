//! Rules: what is to become of a request, by who asks for what (protocol 13).
//!
//! One source for both sides: the program judges what arrives in a slot, and the daemon what reaches
//! it by another way, or what the program left undecided.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`table`] | the book: two tables of rules, of which one is in force |
//! | [`rule`] | what a rule says, as words and as values |
//! | [`judge`] | which rule a request meets, and what comes of it |
//! | [`note`] | a ruling on its way from the program to the daemon |
//! | [`bucket`] | how many requests a rule lets pass in a time |

pub mod bucket;
pub mod judge;
pub mod note;
pub mod rule;
pub mod table;

pub use judge::{Asked, Priority, Ruling, judge};
pub use rule::{Action, Terms};
pub use table::{NAMES_MAX, RULES_MAX, RuleBook, TEXT_MAX};
