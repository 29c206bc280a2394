//! What the commands do.

pub mod demo;
pub mod run;

use anyhow::{Result, ensure};
use shmfuse_bench::{diff::changes, record::Record, report};
use std::{
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

/// `diff`: prints what changed.
pub fn diff(before: &Path, after: &Path) -> Result<ExitCode> {
    let changes = changes(&Record::read(before)?, &Record::read(after)?)?;
    println!("{}", shmfuse_bench::diff::table(&changes));
    Ok(ExitCode::SUCCESS)
}

/// `plot`: draws a run again.
pub fn plot(folder: &Path) -> Result<ExitCode> {
    report::draw(folder, &Record::read(folder)?)?;
    println!("{}", folder.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}
