//! `shmfuse stat`.

use super::{Outcome, target};
use crate::stat::Report;
use clap::{Args, ValueHint};
use std::{io::Write as _, path::PathBuf};

/// Options of `shmfuse stat`.
#[derive(Args, Debug)]
pub struct StatArgs {
    /// Where shmfuse is mounted
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,
    /// Print JSON in place of the table
    #[arg(long)]
    pub json: bool,
}

/// Prints what the mount has done so far. The mount is not touched: neither a request nor a message
/// to the daemon is made.
///
/// # Errors
///
/// No mount of shmfuse there, one whose transport is not shm, lack of privilege.
pub fn run(args: &StatArgs) -> Outcome {
    let ours = target::mount(&args.mountpoint)?;
    let daemon = target::daemon(&ours)?;
    let report = Report::of_process(daemon.pid())?;
    let text = if args.json {
        format!("{:#}\n", report.to_json(&ours.mountpoint))
    } else {
        report.to_string()
    };
    // A reader that has gone (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
