//! `shmfuse umount`.

use super::Outcome;
use crate::{
    error::Error,
    mount::{self, How, presence, table},
};
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Options of `shmfuse umount`.
#[derive(Args, Debug)]
pub struct UmountArgs {
    /// Where shmfuse is mounted
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,
    /// Detach the mount now although it is in use; it ends when nobody uses it any more. Does not
    /// wait for the daemon
    #[arg(short, long)]
    pub lazy: bool,
    /// End the mount now although it is in use: requests under way fail, open files are lost
    /// (root only)
    #[arg(short, long, conflicts_with = "lazy")]
    pub force: bool,
}

/// Unmounts, and waits until the daemon has gone.
///
/// # Errors
///
/// No mount of shmfuse there, a mount in use, lack of privilege.
pub fn run(args: &UmountArgs) -> Outcome {
    let table = table::MountTable::read()?;
    let Some(ours) = table
        .resolve(&args.mountpoint)
        .filter(|mount| mount.is_ours())
    else {
        let place = args.mountpoint.display().to_string();
        let remedy = "findmnt -t fuse.shmfuse lists what is mounted";
        return Err(Error::refused(place, "shmfuse is not mounted there", remedy).into());
    };
    let daemon = presence::find(ours.device);
    let how = match args {
        UmountArgs { lazy: true, .. } => How::Lazy,
        UmountArgs { force: true, .. } => How::Force,
        _ => How::Clean,
    };
    mount::unmount(&ours.mountpoint, how)?;
    if !args.lazy
        && let Some(daemon) = daemon
    {
        daemon.wait()?;
    }
    Ok(())
}
