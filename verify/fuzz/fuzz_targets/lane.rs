//! Lanes against a bounded queue.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verify::properties::lane(bytes));
