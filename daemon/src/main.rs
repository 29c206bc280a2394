//! `shmfuse`: parse, run, exit code.

fn main() {}
