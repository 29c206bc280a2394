//! The command as a user runs it.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

/// As `shmfuse-bench diff A B | head -0`.
#[test]
fn that_nobody_reads_any_more_is_no_error() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
    let run = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmfuse-bench"));
    command
        .arg("diff")
        .args([run.path(), run.path()])
        .stdout(writer)
        .stderr(Stdio::piped());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
