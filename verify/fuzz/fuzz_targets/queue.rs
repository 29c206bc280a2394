//! A whole queue, step by step in any order, with restarts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verify::properties::queue(bytes));
