//! `shmfuse-bench`: runs a plan, prints tables, leaves a folder with the figures.

mod commands;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Copy versus zero-copy: the same work through every way to mount a directory, side by side.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The shmfuse binary [default: beside this program, else from PATH]
    #[arg(long, global = true)]
    shmfuse: Option<PathBuf>,
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run workloads on variants and compare them
    Run(commands::run::RunArguments),
    /// Mount a tree of sources through every transport, work in it, and compare
    Demo {
        /// The tree; it is copied, not changed [default: this directory]
        tree: Option<PathBuf>,
        /// Shell command that builds the tree [default: found out]
        #[arg(long)]
        build: Option<String>,
    },
    /// Name the groups, variants and workloads of a run
    List(commands::run::ListArguments),
    /// Compare two runs of one machine: how each ratio to the baseline changed
    Diff {
        /// Folder of the first run
        before: PathBuf,
        /// Folder of the second
        after: PathBuf,
    },
    /// Replace the results in a document by those of a run
    Document {
        /// Folder of the run
        run: PathBuf,
        /// A Markdown file with the two lines that results stand between
        file: PathBuf,
    },
    /// Draw summary, plots and report.html of a run again, from raw.csv
    Plot {
        /// Folder of the run
        run: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    shmfuse_bench::interrupt::listen();
    let outcome = match arguments.command {
        Action::Run(run) => commands::run::run(&run, arguments.shmfuse),
        Action::Demo { tree, build } => {
            let tree = tree.unwrap_or_else(|| ".".into());
            commands::demo::demo(&tree, build, arguments.shmfuse)
        }
        Action::List(list) => commands::run::list(&list, arguments.shmfuse),
        Action::Diff { before, after } => commands::diff(&before, &after),
        Action::Document { run, file } => commands::document(&run, &file),
        Action::Plot { run } => commands::plot(&run),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shmfuse-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
