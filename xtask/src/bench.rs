//! `cargo xtask bench`: the comparison in full, and whether a browser can show its report.
//!
//! Installs what is missing and, if that works, the peers that Debian has; builds in release mode and
//! hands over to `shmfuse-bench run`.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    demo::hand_over,
    process,
    setup::packages::{self, PEERS},
    workspace::{Workspace, has_program},
};

/// Compare every way to mount a directory; other arguments are those of `shmfuse-bench run`
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Open report.html of a run in a browser without a window, and check that it shows it
    #[arg(long, value_name = "RUN")]
    check_report: Option<PathBuf>,
    /// Put the results of a run into docs/benchmarks.md, in place of those that are there
    #[arg(long, value_name = "RUN")]
    document: Option<PathBuf>,
    /// What `shmfuse-bench run` is to be told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds, and runs the comparison; or checks the report of one.
pub fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    if let Some(run) = &args.check_report {
        check_report(workspace, run)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(run) = &args.document {
        let document = workspace.root().join("docs/benchmarks.md");
        return hand_over(workspace, &["document".into(), run.into(), document.into()]);
    }
    let told = |word: &str| args.arguments.iter().any(|argument| argument == word);
    if !told("--help") && !told("--no-peers") && !told("--peers") {
        install_peers();
    }
    let mut words: Vec<OsString> = vec!["run".into()];
    words.extend(args.arguments.iter().cloned());
    if !told("--out") && !told("--help") {
        // What is less than a full run does not belong among the runs that are kept.
        let part = [
            "--quick",
            "--only",
            "--variant",
            "--repetitions",
            "--budget",
            "--time-limit",
        ];
        let parent = if part.iter().any(|word| told(word)) {
            workspace.target().join("bench")
        } else {
            workspace.root().join("bench/runs")
        };
        let comparison = if told("--comparison") {
            "-comparison"
        } else {
            ""
        };
        let name = name_of_run()? + comparison;
        words.extend(["--out".into(), parent.join(name).into()]);
    }
    hand_over(workspace, &words)
}

/// `<date>-<host>`.
fn name_of_run() -> Result<String> {
    let date = process::ask(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").context("this machine's name")?;
    Ok(format!("{date}-{}", host.trim()))
}

/// Peers are welcome, not needed: the run names those that are not there.
fn install_peers() {
    let missing = packages::missing_of(PEERS);
    if missing.is_empty() {
        return;
    }
    if let Err(error) = packages::install(&missing) {
        println!("bench: goes on without them: {error:#}");
    }
}

/// Browsers that work without a window, by the names of their programs.
const BROWSERS: &[&str] = &[
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
];

/// Opens a report and compares what the browser has made of it with what is in the file.
fn check_report(workspace: &Workspace, run: &Path) -> Result<()> {
    let page = run.join("report.html");
    let page = page
        .canonicalize()
        .with_context(|| page.display().to_string())?;
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let browser = find_browser()?;
    let picture = workspace.target().join("report.png");
    let _ = fs::remove_file(&picture);
    let mut screenshot = OsString::from("--screenshot=");
    screenshot.push(&picture);
    open(browser, &page, &screenshot)?;
    let size = fs::metadata(&picture).map_or(0, |picture| picture.len());
    ensure!(size > 10_000, "{browser} drew nothing ({size} bytes)");
    let (seen, said) = open(browser, &page, OsStr::new("--dump-dom"))?;
    for tag in ["<h2", "<h3", "<table", "<tr", "<svg"] {
        let (written, shown) = (text.matches(tag).count(), seen.matches(tag).count());
        ensure!(
            written == shown && shown > 0,
            "{written} {tag}> are in the file, {browser} has {shown}"
        );
    }
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(":CONSOLE"))
        .collect();
    ensure!(
        complaints.is_empty(),
        "{browser}: {}",
        complaints.join("; ")
    );
    println!(
        "bench: {browser} shows all of {}; see {}",
        page.display(),
        picture.display()
    );
    Ok(())
}

fn find_browser() -> Result<&'static str> {
    let there = || {
        BROWSERS
            .iter()
            .copied()
            .find(|browser| has_program(browser))
    };
    if there().is_none() {
        packages::apt_install(&BROWSERS[..1])?;
    }
    there().context("no browser is installed (remedy: apt-get install chromium-headless-shell)")
}

/// What the browser prints, and what it says on standard error.
fn open(browser: &str, page: &Path, what: &OsStr) -> Result<(String, String)> {
    let mut address = OsString::from("file://");
    address.push(page);
    let output = Command::new("timeout")
        .args(["120", browser])
        // Its sandbox needs a user who is not root; the page is our own.
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--enable-logging=stderr", "--window-size=1200,12000"])
        .arg(what)
        .arg(address)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {browser}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{browser}: {}: {}", output.status, text(&output.stderr));
    }
    Ok((text(&output.stdout), text(&output.stderr)))
}
