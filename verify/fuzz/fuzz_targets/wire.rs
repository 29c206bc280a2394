//! Requests and replies of every opcode through a slot.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| verify::properties::wire(bytes));
