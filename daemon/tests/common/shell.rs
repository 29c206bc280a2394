//! Programs run to their end.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs a program in `dir` and returns its standard output; anything but success fails the test
/// with everything the program said.
pub fn run_in<S: AsRef<OsStr>>(dir: &Path, program: &str, args: &[S]) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir);
    run(&mut command)
}

/// Runs a command and returns its standard output; anything but success fails the test.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command, however it ends.
pub fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env_remove("RUST_LOG")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs a script by bash, ending at its first failing command.
pub fn bash(dir: &Path, script: &str) -> String {
    run_in(dir, "bash", &["-euo", "pipefail", "-c", script])
}
