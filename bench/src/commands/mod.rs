//! What the commands do.

pub mod demo;
pub mod run;

use anyhow::{Context, Result, ensure};
use shmfuse_bench::{diff::changes, document::with_results, record::Record, report};
use std::{
    fmt::Display,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The binary that is measured: the one named, else the one beside this program, else from PATH.
fn find_shmfuse(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        ensure!(path.is_file(), "{} is no file", path.display());
        return Ok(path);
    }
    let beside = std::env::current_exe()?.with_file_name("shmfuse");
    Ok(if beside.is_file() {
        beside
    } else {
        "shmfuse".into()
    })
}

/// Says on standard error what a reader must know, and how it ends: a failure is a failure.
fn conclude(record: &Record) -> ExitCode {
    for note in report::notes(record) {
        eprintln!("shmfuse-bench: {note}");
    }
    if record.rows.is_empty() {
        eprintln!("shmfuse-bench: nothing could be run");
    }
    if record.about.failures.is_empty() && !record.rows.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints to standard output. That nobody reads it any more (`| head`) is no error.
pub fn say(text: impl Display) {
    if let Err(error) = writeln!(io::stdout(), "{text}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("shmfuse-bench: cannot write to standard output: {error}");
    }
}

/// `diff`: prints what changed.
pub fn diff(before: &Path, after: &Path) -> Result<ExitCode> {
    let changes = changes(&Record::read(before)?, &Record::read(after)?)?;
    say(shmfuse_bench::diff::table(&changes));
    Ok(ExitCode::SUCCESS)
}

/// `plot`: draws a run again.
pub fn plot(folder: &Path) -> Result<ExitCode> {
    report::draw(folder, &Record::read(folder)?)?;
    say(folder.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}

/// `document`: puts the results of a run into a document, in place of those that are there.
pub fn document(run: &Path, file: &Path) -> Result<ExitCode> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let name = run.file_name().context("a run is a folder with a name")?;
    let folder = Path::new("bench/runs").join(name);
    let text = with_results(&text, &Record::read(run)?, &folder.display().to_string())?;
    fs::write(file, text).with_context(|| file.display().to_string())?;
    say(file.display());
    Ok(ExitCode::SUCCESS)
}
