//! The same things in plain Rust, to compare with.
