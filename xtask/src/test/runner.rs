//! Runs one step under its watchdog.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::unistd::Uid;

use super::{
    counts::Counts,
    steps::{Action, Step},
};
use crate::{
    process::{self, SKIPPED, Watched},
    workspace::Workspace,
};

/// Names the file to which tests that cannot run here append a line each: test runners hide what
/// a test prints that passes (daemon/tests/common/skip.rs).
const SKIP_LOG: &str = "SHMFUSE_SKIP_LOG";

/// Names the file to which tests that waited in vain append a line each: such a test is never excused by a second
/// attempt that holds (daemon/tests/common/watchdog.rs).
const HANG_LOG: &str = "SHMFUSE_HANG_LOG";

/// What came of a step.
pub struct Outcome {
    /// Its tests; a step that is no test run is one test.
    pub counts: Counts,
    /// From start to end.
    pub took: Duration,
    /// What the table should say beside the numbers, often nothing.
    pub note: String,
    /// The tests that held at the second attempt only.
    pub flaky: Vec<String>,
}

impl Outcome {
    fn failed(note: String) -> Self {
        Self {
            counts: Counts {
                failed: 1,
                ..Counts::default()
            },
            took: Duration::ZERO,
            note,
            flaky: Vec::new(),
        }
    }

    fn skipped(note: &str) -> Self {
        Self {
            counts: Counts {
                skipped: 1,
                ..Counts::default()
            },
            took: Duration::ZERO,
            note: note.to_owned(),
            flaky: Vec::new(),
        }
    }
}

/// What all steps have in common.
pub struct Runner<'a> {
    workspace: &'a Workspace,
    /// Where each step's output is kept.
    logs: PathBuf,
    /// This program. Asked for once, since a step may build it anew in its place.
    xtask: PathBuf,
    is_root: bool,
    has_nextest: bool,
}

impl<'a> Runner<'a> {
    /// Finds out what there is to run steps with.
    pub fn new(workspace: &'a Workspace) -> Result<Self> {
        let logs = workspace.target().join("xtask/test");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let nextest = workspace.cargo().args(["nextest", "--version"]).output();
        Ok(Self {
            workspace,
            logs,
            xtask: env::current_exe().context("cannot tell our own path")?,
            is_root: Uid::effective().is_root(),
            has_nextest: nextest.is_ok_and(|output| output.status.success()),
        })
    }

    /// Runs `step`, whatever comes of it.
    pub fn run(&self, step: &Step) -> Outcome {
        println!("\n==== {}: {}", step.name, step.what);
        if matches!(step.action, Action::RootTests(_)) && !self.is_root {
            println!("skipped: takes root");
            return Outcome::skipped("takes root");
        }
        self.try_run(step).unwrap_or_else(|error| {
            println!("error: {error:#}");
            Outcome::failed(format!("{error:#}"))
        })
    }

    fn try_run(&self, step: &Step) -> Result<Outcome> {
        let log = self.logs.join(step.name).with_extension("log");
        let mut file =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut counts = Counts::default();
        let skips = self.logs.join(step.name).with_extension("skipped");
        File::create(&skips).with_context(|| format!("cannot write {}", skips.display()))?;
        let hangs = self.logs.join(step.name).with_extension("hung");
        File::create(&hangs).with_context(|| format!("cannot write {}", hangs.display()))?;
        let mut command = self.command(&step.action);
        command.env(SKIP_LOG, &skips).env(HANG_LOG, &hangs);
        let mut flaky = Vec::new();
        let ended = process::watch(command, step.limit(), |line| {
            println!("{line}");
            // the log is a convenience: a full disk must not stop the tests
            let _ = writeln!(file, "{line}");
            counts += Counts::in_line(line).unwrap_or_default();
            flaky.extend(flaky_test(line));
        })?;
        let skipped = fs::read_to_string(&skips)
            .with_context(|| format!("cannot read {}", skips.display()))?;
        for line in skipped.lines() {
            println!("{line}");
            counts.passed = counts.passed.saturating_sub(1);
            counts.skipped += 1;
        }
        let mut outcome = judge(step, counts, ended);
        outcome.flaky = flaky;
        let hung = fs::read_to_string(&hangs)
            .with_context(|| format!("cannot read {}", hangs.display()))?;
        for line in hung.lines() {
            println!("{line}");
        }
        if !hung.is_empty() && outcome.counts.failed == 0 {
            outcome.counts.failed = 1;
            outcome.note = hung.lines().collect::<Vec<_>>().join("; ");
        }
        Ok(outcome)
    }

    fn command(&self, action: &Action) -> Command {
        match action {
            Action::Xtask(words) => {
                let mut command = self.workspace.command(&self.xtask);
                command.args(*words);
                command
            }
            Action::Cargo(words) => {
                let mut command = self.workspace.cargo();
                command.args(*words);
                command
            }
            Action::Tests(select) => {
                let mut command = self.test_runner(self.workspace.cargo());
                command.args(*select);
                command
            }
            Action::RootTests(programs) => {
                // Slave mounts: ours do not show outside, but what is unmounted there goes here too.
                let mut unshare = self.workspace.command("unshare");
                unshare.args(["--mount", "--propagation", "slave", "--"]);
                unshare.arg(self.workspace.cargo().get_program());
                let mut command = self.test_runner(unshare);
                // Of the whole workspace, as the tests that run anywhere: with the features that one
                // package asks for by itself, all of it would be compiled anew.
                command.arg("--workspace");
                command.args(programs.iter().flat_map(|program| ["--test", program]));
                if self.has_nextest {
                    // A process for each test; .config/nextest.toml says which have the machine to themselves.
                    let threads = format!("--test-threads={}", tests_at_once());
                    // Beside others' mounts a test may fail for what those do to the machine. What holds at
                    // the second attempt is named as flaky; what hung is not excused.
                    command.args(["--retries", "1", "--flaky-result", "pass"]);
                    command.args(["--run-ignored", "ignored-only", &threads, "--"]);
                } else {
                    command.args(["--", "--ignored", "--test-threads=1"]);
                }
                if !is_full_run() {
                    command.args(["--skip", "full_run_"]);
                }
                command
            }
        }
    }

    fn test_runner(&self, mut cargo: Command) -> Command {
        cargo.args(if self.has_nextest {
            ["nextest", "run"].as_slice()
        } else {
            &["test"]
        });
        cargo.args(["--locked", "--no-fail-fast"]);
        cargo
    }
}

/// How many tests on mounts run beside each other: two for each CPU, for most wait half of the time.
fn tests_at_once() -> usize {
    thread::available_parallelism().map_or(1, |cpus| 2 * cpus.get())
}

/// Whether the tests run at the scale of the full run (docs/testing.md).
fn is_full_run() -> bool {
    const FULL: u64 = 20;
    let scale = std::env::var("SHMFUSE_TEST_SCALE").ok();
    scale.and_then(|text| text.parse().ok()) >= Some(FULL)
}

/// The test that a line of nextest's says held at a later attempt (`FLAKY 2/2 [  0.7s] (1/9) program test`).
fn flaky_test(line: &str) -> Option<String> {
    let (_, test) = line
        .trim_start()
        .strip_prefix("FLAKY ")?
        .rsplit_once(") ")?;
    Some(test.to_owned())
}

fn judge(step: &Step, mut counts: Counts, ended: Watched) -> Outcome {
    let mut notes = Vec::new();
    let code = ended.status.and_then(|status| status.code());
    let succeeded = code == Some(0) && ended.left_behind.is_empty();
    if ended.status.is_none() {
        notes.push(format!("killed after {} minutes", step.limit_minutes));
    }
    if !ended.left_behind.is_empty() {
        notes.push(format!("left behind: {}", ended.left_behind.join(", ")));
    }
    let runs_tests = matches!(step.action, Action::Tests(_) | Action::RootTests(_));
    if code == Some(i32::from(SKIPPED)) {
        counts.skipped += 1;
        notes.push("skipped: see its output".to_owned());
    } else if !succeeded && counts.failed == 0 {
        // it did not get as far as to count
        counts.failed = 1;
        notes.push(code.map_or_else(String::new, |code| format!("exit code {code}")));
    } else if succeeded && counts.ran() == 0 && !runs_tests {
        counts.passed = 1;
    }
    notes.retain(|note| !note.is_empty());
    for note in &notes {
        println!("{}: {note}", step.name);
    }
    Outcome {
        counts,
        took: ended.took,
        note: notes.join("; "),
        flaky: Vec::new(),
    }
}
