//! `shmfuse stat`.

use super::{Outcome, target};
use crate::{coherence::observe::Revocations, stat::Report};
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
/// No mount of shmfuse there, one that counts nothing (its transport is not shm, and its caches are not
/// revoked), lack of privilege.
pub fn run(args: &StatArgs) -> Outcome {
    let ours = target::mount(&args.mountpoint)?;
    let daemon = target::daemon(&ours)?;
    let revocations = Revocations::of_process(daemon.pid())?;
    let report = Report::of_process(daemon.pid());
    let text = match (report, revocations) {
        (Err(error), None) => return Err(error.into()),
        (report, revocations) if args.json => {
            let place = ours.mountpoint.display().to_string();
            let mut json = report.map_or_else(
                |_| serde_json::json!({ "mountpoint": place }),
                |report| report.to_json(&ours.mountpoint),
            );
            json["coherence"] = revocations.map_or(serde_json::Value::Null, Revocations::to_json);
            format!("{json:#}\n")
        }
        (report, revocations) => {
            let report = report.map_or_else(|_| String::new(), |report| report.to_string());
            let revocations = revocations.map(|revocations| format!("{revocations}\n"));
            report + &revocations.unwrap_or_default()
        }
    };
    // A reader that has gone (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
