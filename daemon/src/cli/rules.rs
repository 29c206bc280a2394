//! `shmfuse rules`.

use super::{Outcome, target};
use crate::rules::{access, listing::Listing, spec::Spec};
use clap::{Args, Subcommand, ValueHint};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Options of `shmfuse rules`.
#[derive(Args, Debug)]
pub struct RulesArgs {
    /// Where shmfuse is mounted
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,
    /// What is to be done.
    #[command(subcommand)]
    pub command: RulesCommand,
}

/// What is done with the rules of a mount.
#[derive(Subcommand, Debug)]
pub enum RulesCommand {
    /// Show the rules in force, and how many requests met each.
    List {
        /// Print JSON in place of the table
        #[arg(long, conflicts_with = "toml")]
        json: bool,
        /// Print the rules as a file of rules
        #[arg(long)]
        toml: bool,
    },
    /// Put the rules of a file behind those in force.
    Add {
        /// A TOML file of rules; - is standard input
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Take a rule out of force.
    Del {
        /// What the rule is called
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Put the rules of a file in the place of those in force; an empty file: no rules.
    Replace {
        /// A TOML file of rules; - is standard input
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Shows or changes the rules of a mount. A change is in force as a whole when this returns, or not at
/// all.
///
/// # Errors
///
/// No mount of shmfuse there, lack of privilege, what is wrong with a file.
pub fn run(args: &RulesArgs) -> Outcome {
    // What is wrong with a file is told before anything else.
    let file = match &args.command {
        RulesCommand::Add { file } | RulesCommand::Replace { file } => Some(Spec::read(file)?),
        RulesCommand::List { .. } | RulesCommand::Del { .. } => None,
    };
    let ours = target::mount(&args.mountpoint)?;
    let daemon = target::daemon(&ours)?;
    let book = access::book_of(daemon.pid())?;
    let number_of = |subtree: &str| access::number_of(&ours.mountpoint, subtree);
    match &args.command {
        RulesCommand::List { json, toml } => {
            let text = match (json, toml) {
                (true, _) => format!("{:#}\n", Listing::of(&book)?.to_json()),
                (_, true) => book.in_force()?.0.document.to_text()?,
                _ => Listing::of(&book)?.to_string(),
            };
            // A reader that has gone (`| head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(());
        }
        RulesCommand::Add { file: path } => {
            let file = file.unwrap_or_default();
            book.change(|old| old.and(file, &name_of(path)), number_of)?;
        }
        RulesCommand::Del { name } => {
            book.change(|old| old.without(name), number_of)?;
        }
        RulesCommand::Replace { .. } => {
            book.change(|_| Ok(file.unwrap_or_default()), number_of)?;
        }
    }
    book.wait_until_shown(|| access::remind(daemon.pid()))?;
    Ok(())
}

fn name_of(path: &Path) -> String {
    format!("the rules in force with those of {}", path.display())
}
