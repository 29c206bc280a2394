//! `shmfuse`: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    shmfuse::cli::run(std::env::args_os().collect())
}
