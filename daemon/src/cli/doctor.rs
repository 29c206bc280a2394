//! `shmfuse doctor`.

use super::Outcome;
use crate::{doctor, error::Error};
use clap::Args;
use std::io::Write as _;

/// Options of `shmfuse doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print JSON in place of the table
    #[arg(long)]
    pub json: bool,
}

/// Prints what this kernel and this user can do.
///
/// # Errors
///
/// This user cannot mount on this kernel.
pub fn run(args: &DoctorArgs) -> Outcome {
    let report = doctor::examine();
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
