//! `mount.fuse.shmfuse`: the form in which mount(8) calls the helper of a file system type.
//!
//! mount(8), "EXTERNAL HELPERS": `/sbin/mount.TYPE SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS]
//! [-t TYPE]`. Here `-f` means "fake", not "foreground".

use super::{Outcome, mount, usage};
use clap::Parser;
use std::{ffi::OsString, path::PathBuf};

/// Mount helper for mount(8): makes `mount -t fuse.shmfuse` and lines of fstab work.
#[derive(Parser, Debug)]
#[command(
    name = "mount.fuse.shmfuse",
    version,
    after_help = "The mount options are those of shmfuse-mount(8); so is each of its long options."
)]
pub struct HelperArgs {
    /// Directory whose contents are to appear at MOUNTPOINT
    #[arg(value_name = "LOWER")]
    pub lower: PathBuf,
    /// Directory to mount on
    #[arg(value_name = "MOUNTPOINT")]
    pub mountpoint: PathBuf,
    /// Mount options, separated by commas; each long option of `shmfuse mount` is one, too
    #[arg(short = 'o', value_name = "OPTIONS", action = clap::ArgAction::Append)]
    pub options: Vec<String>,
    /// Pass over unknown mount options
    #[arg(short = 's')]
    pub sloppy: bool,
    /// Check the arguments, mount nothing
    #[arg(short = 'f')]
    pub fake: bool,
    /// Accepted for mount(8): /etc/mtab is never written
    #[arg(short = 'n')]
    pub no_mtab: bool,
    /// Say what has been mounted
    #[arg(short = 'v')]
    pub verbose: bool,
    /// Mount namespace; mount(8) has entered it already where it can
    #[arg(short = 'N', value_name = "NAMESPACE", hide = true)]
    pub namespace: Option<OsString>,
    /// Type that mount(8) was asked for
    #[arg(short = 't', value_name = "TYPE", hide = true)]
    pub kind: Option<OsString>,
}

/// Mounts as mount(8) asks.
///
/// # Errors
///
/// Why there is no mount.
pub fn run(args: &[OsString]) -> Outcome {
    let Some(args) = usage::parse::<HelperArgs>(args)? else {
        return Ok(());
    };
    let mut line = Vec::new();
    for list in &args.options {
        line.extend([OsString::from("-o"), OsString::from(list)]);
    }
    line.extend(["--".into(), args.lower.into(), args.mountpoint.into()]);
    let Some(parsed) = mount::parse(&line, args.sloppy)? else {
        return Ok(());
    };
    let said = format!(
        "{} mounted on {}",
        parsed.args.lower.display(),
        parsed.args.mountpoint.display()
    );
    if args.fake {
        parsed.check()?;
    } else {
        mount::start(parsed)?;
    }
    if args.verbose {
        println!("mount.fuse.shmfuse: {said}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        HelperArgs::command().debug_assert();
    }

    #[test]
    fn the_order_of_mount_is_taken() {
        let line = "mount.fuse.shmfuse /a /b -s -n -v -o rw,transport=classic -t fuse.shmfuse";
        let args = HelperArgs::try_parse_from(line.split(' ')).unwrap();
        assert!(args.sloppy && args.verbose && !args.fake);
        assert_eq!(args.options, ["rw,transport=classic"]);
    }
}
