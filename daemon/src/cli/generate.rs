//! `shmfuse generate`: man pages and shell completions, from the definitions of the command line.

use super::{Cli, Outcome, helper::HelperArgs};
use anyhow::Context as _;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::{fs, path::PathBuf};

/// What is generated, and where to.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// What to generate
    #[arg(value_enum)]
    pub what: What,
    /// Directory to write into; it is created
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// What can be generated.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// Manual pages, section 8: shmfuse.8, one for each subcommand, mount.fuse.shmfuse.8
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}

/// Writes the files.
///
/// # Errors
///
/// A directory that cannot be created or written to.
pub fn run(args: &GenerateArgs) -> Outcome {
    let place = || format!("cannot write to {}", args.directory.display());
    fs::create_dir_all(&args.directory).with_context(place)?;
    match args.what {
        What::Man => {
            let command = Cli::command();
            page(&command, "shmfuse", args)?;
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                page(sub, &format!("shmfuse-{}", sub.get_name()), args)?;
            }
            page(&HelperArgs::command(), "mount.fuse.shmfuse", args)
        }
        What::Completions => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut Cli::command(), "shmfuse", &args.directory)
                    .with_context(place)?;
            }
            Ok(())
        }
    }
}

fn page(command: &clap::Command, name: &str, args: &GenerateArgs) -> Outcome {
    // The page's title and its synopsis take the name from the command.
    let command = command
        .clone()
        .name(name.to_owned())
        .bin_name(name.replacen("shmfuse-", "shmfuse ", 1));
    let path = args.directory.join(format!("{name}.8"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .section("8")
        .render(&mut text)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
