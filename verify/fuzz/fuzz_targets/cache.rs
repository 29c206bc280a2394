//! Cached facts with invalidation, against the truth.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verify::properties::cache(bytes));
