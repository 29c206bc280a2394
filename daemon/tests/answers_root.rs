//! What kernel programs answer, on real mounts: that they do, and that it is never wrong
//! (docs/protocol.md, section 8).

#[macro_use]
mod common;

#[path = "answers_root/ahead.rs"]
mod ahead;
#[path = "answers_root/answered.rs"]
mod answered;
#[path = "answers_root/counted.rs"]
mod counted;
#[path = "answers_root/counting.rs"]
mod counting;
#[path = "answers_root/endless.rs"]
mod endless;
#[path = "answers_root/large.rs"]
mod large;
#[path = "answers_root/mistakes.rs"]
mod mistakes;
#[path = "answers_root/places.rs"]
mod places;
#[path = "answers_root/self_test.rs"]
mod self_test;
#[path = "answers_root/two_sides.rs"]
mod two_sides;
