//! The command line: one file a subcommand, and what they share.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`mount`] | `shmfuse mount`: its options, and how they become a [`Config`](crate::config::Config) |
//! | [`umount`] | `shmfuse umount` |
//! | [`stat`] | `shmfuse stat` |
//! | [`top`] | `shmfuse top` |
//! | [`trace`] | `shmfuse trace` |
//! | [`doctor`] | `shmfuse doctor` |
//! | [`helper`] | `mount.fuse.shmfuse`, as mount(8) calls it |
//! | [`rules`] | `shmfuse rules` |
//! | [`generate`] | man pages and completions, from the definitions here |
//! | [`target`] | the mount that a command is about, and its daemon |
//! | [`options`] | `-o` lists |
//! | [`ranges`] | numbers within their ranges |
//! | [`for_tests`] | options of `shmfuse mount` that only tests have a use for |
//! | [`values`] | sizes, times, names |
//! | [`usage`] | what clap finds wrong, in one line |

pub mod doctor;
pub mod for_tests;
pub mod generate;
pub mod helper;
pub mod mount;
pub mod options;
pub mod places;
pub mod ranges;
pub mod rules;
pub mod stat;
pub mod target;
pub mod top;
pub mod trace;
pub mod umount;
pub mod usage;
pub mod values;

use crate::{mount::undertaker, probe};
use clap::{Parser, Subcommand};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A FUSE pass-through file system: what is in LOWER appears at MOUNTPOINT.
#[derive(Parser, Debug)]
#[command(
    name = "shmfuse",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Mount a directory somewhere else, through FUSE.
    Mount(Box<mount::MountArgs>),
    /// Unmount, and wait until the daemon behind the mount has gone.
    Umount(umount::UmountArgs),
    /// Show what a mount with the shm transport has done, from the maps it shares with the kernel.
    Stat(stat::StatArgs),
    /// Show what mounts are doing: requests by opcode, latency, slots, CPU.
    Top(top::TopArgs),
    /// Show each request of a mount as it ends, with the time that it spent in each stage.
    Trace(trace::TraceArgs),
    /// Show or change what becomes of the requests of a mount: refuse, limit, count, lanes.
    Rules(rules::RulesArgs),
    /// Say what this kernel and this user can do, and how to turn on the rest.
    Doctor(doctor::DoctorArgs),
    /// Write man pages or shell completions into a directory.
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
    /// End the mount of the daemon that started this, should it die and not go.
    #[command(hide = true)]
    Undertaker,
    /// Ask a mount whether it answers, for the daemon that serves it.
    #[command(hide = true)]
    Probe {
        /// The mount.
        mountpoint: PathBuf,
    },
}

/// What a command comes to: nothing more to say, or an error for one line.
pub type Outcome = Result<(), Failure>;

/// Why a command ends with a status other than 0.
#[derive(Debug)]
pub enum Failure {
    /// It was called wrongly; exit status 2.
    Usage(String),
    /// It could not be done; exit status 1.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Does what the arguments say, program name first. An error is one line on stderr.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let outcome = if called_as_helper(&args) {
        helper::run(&args)
    } else {
        usage::parse::<Cli>(&args).and_then(|cli| match cli {
            None => Ok(()),
            Some(cli) => match cli.command {
                Command::Mount(_) => mount::run(&args),
                Command::Umount(args) => umount::run(&args),
                Command::Stat(args) => stat::run(&args),
                Command::Top(args) => top::run(&args),
                Command::Trace(args) => trace::run(&args),
                Command::Rules(args) => rules::run(&args),
                Command::Doctor(args) => doctor::run(&args),
                Command::Generate(args) => generate::run(&args),
                Command::Undertaker => Ok(undertaker::run()?),
                Command::Probe { mountpoint } => Ok(probe::run(&mountpoint)?),
            },
        })
    };
    let (text, status) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => (text, 2),
        Err(Failure::Failed(error)) => (describe(&error), 1),
    };
    eprintln!("shmfuse: {}", usage::one_line(&text));
    ExitCode::from(status)
}

/// Ours say all there is in one line; of others the causes belong to it.
fn describe(error: &anyhow::Error) -> String {
    match error.downcast_ref::<crate::error::Error>() {
        Some(ours) => ours.to_string(),
        None => format!("{error:#}"),
    }
}

/// Whether mount(8) calls: it runs `/sbin/mount.TYPE` for a file system of that type.
fn called_as_helper(args: &[OsString]) -> bool {
    args.first()
        .and_then(|name| Path::new(name).file_name())
        .map(|name| name.as_encoded_bytes())
        .is_some_and(|name| name == b"mount.fuse.shmfuse" || name == b"mount.shmfuse")
}
