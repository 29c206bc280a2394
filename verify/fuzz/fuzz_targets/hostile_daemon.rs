//! The daemon over memory in which anything may stand.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verify::hostile::daemon(bytes));
