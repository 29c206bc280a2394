//! `shmfuse stat`.

use super::{Outcome, target};
use crate::{
    coherence::observe::Standing,
    rules::{access, listing::Listing},
    stat::Report,
};
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
    let standing = Standing::of_process(daemon.pid())?;
    let report = Report::of_process(daemon.pid());
    let rules = access::book_of(daemon.pid()).and_then(|book| Listing::of(&book));
    let text = match (report, standing) {
        (Err(error), None) => return Err(error.into()),
        (report, standing) if args.json => {
            let place = ours.mountpoint.display().to_string();
            let mut json = report.map_or_else(
                |_| serde_json::json!({ "mountpoint": place }),
                |report| report.to_json(&ours.mountpoint),
            );
            json["coherence"] = standing.map_or(serde_json::Value::Null, Standing::to_json);
            json["rules"] = rules.map_or(serde_json::Value::Null, |rules| rules.to_json());
            format!("{json:#}\n")
        }
        (report, standing) => {
            let report = report.map_or_else(|_| String::new(), |report| report.to_string());
            let standing = standing.map(|standing| format!("{standing}\n"));
            report + &standing.unwrap_or_default()
        }
    };
    // A reader that has gone (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
