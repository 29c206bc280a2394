//! Tests that cannot run here.

use std::{env, fs::OpenOptions, io::Write};

/// Says loudly that `test` did not run. The line goes to standard error and, if
/// `SHMFUSE_SKIP_LOG` names a file, to its end: test runners hide the output of tests that pass,
/// and `cargo xtask test` counts the lines there.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED: {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = env::var_os("SHMFUSE_SKIP_LOG") {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut log| log.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("SHMFUSE_SKIP_LOG={}: {error}", path.display()));
    }
}
