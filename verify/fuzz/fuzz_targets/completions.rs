//! CQs against a bounded queue, in both engines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verify::properties::completions(bytes));
