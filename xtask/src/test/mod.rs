//! `cargo xtask test`: every check and every test, as a table of steps.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`steps`] | the table: one row a step |
//! | [`runner`] | runs one step under its watchdog |
//! | [`counts`] | how many tests ran, read off what test runners print |
//!
//! A step that fails does not keep the others from running. The last line is the sum over all
//! steps; a step that is no test run counts as one test. A root test that failed and held when it ran again is
//! named before the sum: it passes, and is to be looked into. One that waited in vain is not run again to be excused.

mod counts;
mod runner;
mod steps;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};

use self::{
    counts::Counts,
    runner::{Outcome, Runner},
    steps::{Action, STEPS, Step},
};
use crate::workspace::Workspace;

/// Run every check and every test
#[derive(clap::Args)]
pub struct Args {
    /// Run these steps only
    steps: Vec<String>,
    /// Print the steps and run none
    #[arg(long)]
    list: bool,
}

/// Runs the steps that `args` name, or all.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if let Some(unknown) = args
        .steps
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        bail!("there is no step {unknown} (cargo xtask test --list names all)");
    }
    let chosen = STEPS
        .iter()
        .filter(|step| args.steps.is_empty() || args.steps.iter().any(|name| name == step.name));
    if args.list {
        chosen.for_each(|step| println!("{:10} {}", step.name, step.what));
        return Ok(ExitCode::SUCCESS);
    }

    let runner = Runner::new(workspace)?;
    let results: Vec<_> = chosen.map(|step| (step, runner.run(step))).collect();
    print_table(&results);
    for (step, outcome) in &results {
        for test in &outcome.flaky {
            println!(
                "FLAKY: {}: {test} failed first, then held (target/xtask/test/{0}.log)",
                step.name
            );
        }
    }
    let total = total(&results);
    println!(
        "\n{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_table(results: &[(&Step, Outcome)]) {
    println!(
        "\n{:10}  {:>6} {:>6} {:>7} {:>6} {:>8}",
        "step", "passed", "failed", "skipped", "flaky", "seconds"
    );
    for (
        step,
        Outcome {
            counts, took, note, ..
        },
    ) in results
    {
        let seconds = took.as_secs_f64();
        let Counts {
            passed,
            failed,
            skipped,
            flaky,
        } = counts;
        println!(
            "{:10}  {passed:>6} {failed:>6} {skipped:>7} {flaky:>6} {seconds:>8.1}  {note}",
            step.name
        );
    }
    let took: Duration = results.iter().map(|(_, outcome)| outcome.took).sum();
    println!(
        "{:10}  {:>6} {:>6} {:>7} {:>6} {:>8.1}",
        "",
        "",
        "",
        "",
        "",
        took.as_secs_f64()
    );
}

/// The sum over all steps. A test that one step passes over because it takes root, and that a root
/// step runs, was not skipped.
fn total(results: &[(&Step, Outcome)]) -> Counts {
    let mut total = Counts::default();
    let mut ran_as_root = 0;
    for (step, outcome) in results {
        total += outcome.counts;
        if matches!(step.action, Action::RootTests(_)) {
            ran_as_root += outcome.counts.ran();
        }
    }
    total.skipped = total.skipped.saturating_sub(ran_as_root);
    total
}
