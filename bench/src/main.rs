//! `shmfuse-bench`: runs a plan, prints a table, leaves a folder with the figures.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use shmfuse_bench::{
    catalogue::{self, Scale},
    floor::Floor,
    host::Host,
    report,
    run::{Plan, Row},
    summary::summarize,
    variant::Variant,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};
use tempfile::TempDir;

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
    Run(RunArguments),
    /// Mount a tree of sources through every transport, work in it, and compare
    Demo {
        /// The tree; it is copied, not changed [default: this directory]
        tree: Option<PathBuf>,
        /// Shell command that builds the tree [default: found out]
        #[arg(long)]
        build: Option<String>,
    },
    /// Name the variants and workloads there are
    List,
}

#[derive(clap::Args)]
struct RunArguments {
    /// Less of everything: minutes instead of tens of minutes
    #[arg(long)]
    quick: bool,
    /// Only workloads with this in their name; may be given again
    #[arg(long, value_name = "WORKLOAD")]
    only: Vec<String>,
    /// Only these variants, the first is the baseline of ratios; may be given again
    #[arg(long, value_name = "VARIANT")]
    variant: Vec<String>,
    /// TOML file of other mount commands to compare with
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// Where the lower directory is made: disk, tmpfs, or a directory
    #[arg(long, default_value = "disk", value_name = "disk|tmpfs|PATH")]
    lower: String,
    /// Repetitions that count
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Folder for raw.csv, latency.csv, summary.json, summary.md and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a terminal.
    Table,
    /// For a document.
    Markdown,
}

fn main() -> ExitCode {
    match act(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shmfuse-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Action::Run(run) => compare(&run, arguments.shmfuse),
        Action::Demo { tree, build } => {
            let tree = tree.unwrap_or_else(|| ".".into());
            demo(&tree, build, arguments.shmfuse)
        }
        Action::List => {
            for variant in catalogue::variants() {
                println!("variant   {}", variant.name);
            }
            let fio = catalogue::fio_workloads(Scale::Full);
            for workload in catalogue::workloads(Scale::Full).into_iter().chain(fio) {
                println!("workload  {}", workload.name());
            }
            Ok(())
        }
    }
}

fn compare(arguments: &RunArguments, shmfuse: Option<PathBuf>) -> Result<()> {
    let mut variants = if arguments.variant.is_empty() {
        catalogue::variants()
    } else {
        arguments
            .variant
            .iter()
            .map(|name| catalogue::variant(name))
            .collect::<Result<_>>()?
    };
    if let Some(file) = &arguments.peers {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        variants.extend(Variant::peers(&text).with_context(|| file.display().to_string())?);
    }
    let scale = if arguments.quick {
        Scale::Quick
    } else {
        Scale::Full
    };
    let mut workloads = catalogue::workloads(scale);
    workloads.extend(catalogue::fio_workloads(scale));
    workloads.retain(|workload| catalogue::wanted(&workload.name(), &arguments.only));
    ensure!(
        !workloads.is_empty(),
        "no workload is called {}",
        arguments.only.join(" or ")
    );
    let lower = lower_directory(&arguments.lower)?;
    let plan = Plan {
        variants,
        workloads,
        repetitions: arguments.repetitions,
        warm_ups: 1,
        shmfuse: find_shmfuse(shmfuse)?,
    };
    let host = Host::read();
    let floor = Floor::measure()?;
    let rows = carry_out(&plan, lower.path())?;
    let results = summarize(&rows);
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    match arguments.format {
        Format::Table => println!("{}", report::table(&results)),
        Format::Markdown => println!("{}", report::markdown(&host, &command, &results)),
    }
    if let Some(warning) = host.warning() {
        eprintln!("shmfuse-bench: read with care: {warning}");
    }
    if let Some(folder) = &arguments.out {
        report::write(folder, &host, &floor, &command, &rows, &results)?;
    }
    Ok(())
}

/// Works on a copy of `tree` through every transport, and prints one table.
fn demo(tree: &Path, build: Option<String>, shmfuse: Option<PathBuf>) -> Result<()> {
    ensure!(
        tree.is_dir(),
        "{} is no directory: name a tree of sources",
        tree.display()
    );
    let lower = lower_directory("disk")?;
    copy_tree(tree, &lower.path().join("tree"))?;
    let build = build.or_else(|| usual_build(tree).map(str::to_owned));
    if build.is_none() {
        eprintln!("shmfuse-bench: no build: neither Cargo.toml nor Makefile (use --build COMMAND)");
    }
    let mut workloads = catalogue::tree_workloads(build.as_deref());
    workloads.extend(
        catalogue::workloads(Scale::Quick)
            .into_iter()
            .filter(|workload| workload.name() == "stat" || workload.name().ends_with("1M")),
    );
    let plan = Plan {
        variants: catalogue::variants(),
        workloads,
        repetitions: 3,
        warm_ups: 1,
        shmfuse: find_shmfuse(shmfuse)?,
    };
    let rows = carry_out(&plan, lower.path())?;
    println!("{}", report::table(&summarize(&rows)));
    println!(
        "rate: median of {} repetitions, interleaved; ratio: to native, with its 95 % interval;\n\
         p50, p99: latency of one call or command; CPU s: application and daemon per repetition.",
        plan.repetitions
    );
    Ok(())
}

fn carry_out(plan: &Plan, lower: &Path) -> Result<Vec<Row>> {
    let bar = ProgressBar::new(plan.steps() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {msg}")
            .expect("the template is a constant"),
    );
    let rows = plan.run(lower, |what| {
        bar.set_message(what.to_owned());
        bar.inc(1);
    });
    bar.finish_and_clear();
    rows
}

fn lower_directory(place: &str) -> Result<TempDir> {
    let parent = match place {
        "disk" => Path::new("/var/tmp"),
        "tmpfs" => Path::new("/dev/shm"),
        path => Path::new(path),
    };
    tempfile::Builder::new()
        .prefix("shmfuse-bench-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a lower directory in {}", parent.display()))
}

fn find_shmfuse(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        ensure!(path.is_file(), "{} is no file", path.display());
        return Ok(path);
    }
    let beside = std::env::current_exe()?.with_file_name("shmfuse");
    Ok(if beside.is_file() {
        beside
    } else {
        "shmfuse".into()
    })
}

/// Copies a tree with git where it is a repository (what is tracked, and history), else whole.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut copy = if from.join(".git").exists() {
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--no-hardlinks"])
            .args([from, to]);
        git
    } else {
        let mut cp = Command::new("cp");
        cp.args(["-a", "--"]).args([from, to]);
        cp
    };
    let status = copy
        .stdin(Stdio::null())
        .status()
        .context("cannot copy the tree")?;
    if !status.success() {
        bail!("copying {} failed ({status})", from.display());
    }
    Ok(())
}

/// How a tree is usually built, without anything from the network.
fn usual_build(tree: &Path) -> Option<&'static str> {
    if tree.join("Cargo.toml").exists() && tree.join("transport").is_dir() {
        Some("CARGO_TARGET_DIR=\"$SCRATCH\" cargo build --quiet --offline -p transport")
    } else if tree.join("Cargo.toml").exists() {
        Some("CARGO_TARGET_DIR=\"$SCRATCH\" cargo build --quiet --offline")
    } else if tree.join("Makefile").exists() {
        Some("make --silent clean all")
    } else {
        None
    }
}
