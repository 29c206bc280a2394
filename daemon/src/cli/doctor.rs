//! `shmfuse doctor`.

use super::Outcome;
use crate::{doctor, error::Error};
use clap::{Args, ValueHint};
use std::{io::Write as _, path::PathBuf};

/// Options of `shmfuse doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print JSON in place of the table
    #[arg(long)]
    pub json: bool,
    /// Also say where changes of this directory would be reported from, for --cache coherent: each kind of
    /// change is made in a scratch directory in it, which is removed
    #[arg(value_name = "LOWER", value_hint = ValueHint::DirPath)]
    pub lower: Option<PathBuf>,
}

/// Prints what this kernel and this user can do.
///
/// # Errors
///
/// This user cannot mount on this kernel.
pub fn run(args: &DoctorArgs) -> Outcome {
    let report = doctor::examine(args.lower.as_deref());
    let text = if args.json {
        format!("{:#}\n", report.to_json())
    } else {
        report.to_string()
    };
    // A reader that has gone (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if report.can_mount() {
        return Ok(());
    }
    let lacking: Vec<_> = report
        .checks
        .iter()
        .filter(|check| check.required && check.status != doctor::Status::Yes)
        .map(|check| check.name.as_str())
        .collect();
    let why = format!("not possible without: {}", lacking.join(", "));
    Err(Error::refused("mounting", why, "see above how to turn it on").into())
}
