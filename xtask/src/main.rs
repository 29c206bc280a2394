//! The doors of the workspace: `cargo xtask <task>`, the same by hand and in CI.
//!
//! | task | file | what it does |
//! | --- | --- | --- |
//! | `setup` | [`setup`] | installs what building and testing take: packages, eBPF toolchain |
//! | `test` | [`test`] | every check and every test, as a table of steps |
//! | `demo` | [`demo`] | from a clone to a table: real work through every transport |
//! | `bench` | [`bench`] | the comparison in full |
//! | `bpf` | [`bpf`] | the eBPF object in the repository: made anew, or checked |
//! | `package` | [`package`] | the Debian package, and a try of it |
//! | `tidy` | [`tidy`] | the house rules that no other tool checks |
//! | `verify` | [`verify`] | the models of the ring protocol, and their mutants |
//!
//! One file (or folder) a task, each with an `Args` and a `run`. Common to them: [`workspace`],
//! where things are; [`process`], other programs, with or without a watchdog; [`descendants`], the
//! processes that such a program leaves behind.

mod bench;
mod bpf;
mod demo;
mod descendants;
mod package;
mod process;
mod setup;
mod test;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

/// The doors of the shmfuse workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Setup(setup::Args),
    Test(test::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Bpf(bpf::Args),
    Package(package::Args),
    Tidy(tidy::Args),
    Verify(verify::Args),
}

fn main() -> ExitCode {
    let workspace = Workspace::here();
    let outcome = match Cli::parse().task {
        Task::Setup(args) => setup::run(&workspace, &args),
        Task::Test(args) => test::run(&workspace, &args),
        Task::Demo(args) => demo::run(&workspace, &args),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Bpf(args) => bpf::run(&workspace, &args),
        Task::Package(args) => package::run(&workspace, &args),
        Task::Tidy(args) => tidy::run(&workspace, &args),
        Task::Verify(args) => verify::run(&workspace, &args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
