//! `run` and `list`.

use super::{conclude, find_shmfuse, say};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use shmfuse_bench::{
    capability::Capabilities,
    catalogue::{self, Catalogue, Scale},
    goals,
    peers::{self, Peer},
    record::Left,
    report, reserve,
    run::{Group, Plan},
    session,
    summary::summarize,
    verdict::verdicts,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// What is chosen of everything there is.
#[derive(clap::Args)]
pub struct Choice {
    /// Less of everything: minutes instead of tens of minutes
    #[arg(long)]
    quick: bool,
    /// Other work: sizes, jobs, page cache and O_DIRECT on ext4 and tmpfs, ten thousands of small
    /// files, and stat beside a slow file; natively, with each fixed setting, by the choice itself
    /// and with libfuse's passthrough_hp, and which goals are met
    #[arg(long, conflicts_with = "quick")]
    comparison: bool,
    /// Only this group, or workloads with this in their name; may be given again
    #[arg(long, value_name = "WORKLOAD")]
    only: Vec<String>,
    /// Only these variants on all workloads, the first is the baseline of ratios: native,
    /// TRANSPORT[+DATA][@CACHE][~OPTION=VALUE...] or a peer; may be given again
    #[arg(long, value_name = "VARIANT")]
    variant: Vec<String>,
    /// TOML file of other mount commands to compare with [default: those of `list`]
    #[arg(long, value_name = "FILE", conflicts_with = "no_peers")]
    peers: Option<PathBuf>,
    /// No other mount commands
    #[arg(long)]
    no_peers: bool,
    /// Repetitions that count [default: 3 with --quick, else 5, and up to 9 of workloads whose
    /// intervals are wide, as far as 23 minutes allow]
    #[arg(long, value_name = "NUMBER")]
    repetitions: Option<usize>,
    /// Begin nothing after so many minutes, whatever is left to do; rounds that have ended count
    /// [default: 38, or 3.6 with --quick]
    #[arg(long, value_name = "MINUTES")]
    time_limit: Option<f64>,
    /// Milliseconds of a repetition, of workloads that end by time [default: 110, or 50 with
    /// --quick]
    #[arg(long, value_name = "MILLISECONDS")]
    budget: Option<u64>,
}

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct RunArguments {
    #[command(flatten)]
    choice: Choice,
    /// Where the lower directory is made: on ext4 (the disk of /var/tmp), in memory, or below a
    /// directory; disk is the disk of /var/tmp whatever its file system
    #[arg(long, default_value = "disk", value_name = "disk|ext4|tmpfs|PATH")]
    lower: String,
    /// Folder for raw.csv, summary.json, summary.md, plots and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Arguments of `list`.
#[derive(clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    choice: Choice,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a terminal.
    Table,
    /// For a document.
    Markdown,
    /// The verdicts alone.
    Verdicts,
    /// The goals of --comparison and what is beside what, for a document.
    Comparison,
}

impl Choice {
    fn plan(&self, shmfuse: &Path) -> Result<(Plan, Vec<Left>)> {
        let (groups, left) = self.groups(shmfuse)?;
        let scale = self.scale();
        let budget = self.budget.map(Duration::from_millis);
        let minutes = self.time_limit.unwrap_or_else(|| scale.limit_minutes());
        ensure!(
            (0.0..=1e6).contains(&minutes) && minutes > 0.0,
            "--time-limit {minutes}: a number of minutes above 0"
        );
        let limit = Duration::from_secs_f64(minutes * 60.0);
        let plan = Plan {
            groups,
            repetitions: self.repetitions.unwrap_or_else(|| scale.repetitions()),
            repetitions_at_most: self
                .repetitions
                .unwrap_or_else(|| scale.repetitions_at_most()),
            aim: scale.aim().min(limit),
            limit,
            reserved_bytes: reserve::usual_bytes(),
            budget: budget.unwrap_or_else(|| scale.budget()),
        };
        Ok((plan, left))
    }

    fn scale(&self) -> Scale {
        if self.quick {
            Scale::Quick
        } else if self.comparison {
            Scale::Comparison
        } else {
            Scale::Full
        }
    }

    fn groups(&self, shmfuse: &Path) -> Result<(Vec<Group>, Vec<Left>)> {
        let peers = match &self.peers {
            _ if self.no_peers => Vec::new(),
            None if self.comparison => Peer::parse(peers::LIBFUSE)?,
            None => Peer::parse(peers::USUAL)?,
            Some(file) => {
                let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
                Peer::parse(&text).with_context(|| file.display().to_string())?
            }
        };
        let catalogue = Catalogue {
            capabilities: Capabilities::of(shmfuse)?,
            peers,
            scale: self.scale(),
        };
        let (mut groups, left) = if self.variant.is_empty() {
            catalogue.groups()
        } else {
            let variants = self
                .variant
                .iter()
                .map(|name| catalogue.variant(name))
                .collect::<Result<_>>()?;
            (catalogue.chosen(variants), Vec::new())
        };
        for group in &mut groups {
            let name = group.name.clone();
            group
                .workloads
                .retain(|workload| catalogue::wanted(&name, &workload.name(), &self.only));
        }
        groups.retain(|group| !group.workloads.is_empty());
        ensure!(
            !groups.is_empty(),
            "no group or workload is called {} (`shmfuse-bench list` names them)",
            self.only.join(" or ")
        );
        // A peer that no group that is left would have run is none of this run's business.
        let asked = |left: &Left| {
            groups
                .iter()
                .any(|group| ["peers", "work"].contains(&group.name.as_str()) || self.comparison)
                && !left.what.is_empty()
        };
        let left = left.into_iter().filter(asked).collect();
        Ok((groups, left))
    }
}

/// `run`.
pub fn run(arguments: &RunArguments, shmfuse: Option<PathBuf>) -> Result<ExitCode> {
    let shmfuse = find_shmfuse(shmfuse)?;
    let choice = &arguments.choice;
    let (plan, left) = choice.plan(&shmfuse)?;
    for left in &left {
        eprintln!("shmfuse-bench: NOT RUN: {}: {}", left.what, left.why);
    }
    let most = plan.expected_at_most().as_secs_f64() / 60.0;
    eprintln!("shmfuse-bench: this takes up to {most:.0} minutes");
    let command = without_paths(std::env::args().skip(1));
    let parent = session::place(&arguments.lower)?;
    let record = session::carry_out(&plan, &shmfuse, parent, &command, left)?;
    let results = summarize(&record);
    let answers = verdicts(&record.rows, &record.about.peers);
    // First what cannot be had again.
    if let Some(folder) = &arguments.out {
        record.write(folder)?;
        report::draw(folder, &record)?;
    }
    match arguments.format {
        Format::Table => say(report::table(&results)),
        Format::Markdown => say(report::markdown(&record, &answers, &results)),
        Format::Comparison => say(goals::markdown(&record).unwrap_or_default()),
        Format::Verdicts => (),
    }
    if !matches!(arguments.format, Format::Markdown | Format::Comparison) && !answers.is_empty() {
        say(report::verdict_table(&answers));
    }
    if let Some(folder) = &arguments.out {
        say(folder.join("report.html").display());
    }
    Ok(conclude(&record))
}

/// The command line for the record, without where this machine keeps things.
fn without_paths(words: impl Iterator<Item = String>) -> String {
    let (mut kept, mut skip) = (Vec::new(), false);
    for word in words {
        let path = ["--out", "--shmfuse"].contains(&word.as_str());
        let joined = ["--out=", "--shmfuse="]
            .iter()
            .any(|start| word.starts_with(start));
        if !skip && !path && !joined {
            kept.push(word);
        }
        skip = path;
    }
    kept.join(" ")
}

/// `list`.
pub fn list(arguments: &ListArguments, shmfuse: Option<PathBuf>) -> Result<ExitCode> {
    let (plan, left) = arguments.choice.plan(&find_shmfuse(shmfuse)?)?;
    let minutes = |time: Duration| time.as_secs_f64() / 60.0;
    say(format_args!(
        "about {:.0} minutes:",
        minutes(plan.expected())
    ));
    for group in &plan.groups {
        let time = minutes(plan.expected_of_group(group));
        say(format_args!(
            "{} ({time:.1} minutes): {}",
            group.name, group.purpose
        ));
        for variant in &group.variants {
            say(format_args!("  variant   {}", variant.name));
        }
        for workload in &group.workloads {
            say(format_args!("  workload  {}", workload.name()));
        }
    }
    for left in &left {
        say(format_args!("not run: {}: {}", left.what, left.why));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_does_not_say_where_it_lies() {
        let words = "run --out /x/y --only stat --shmfuse=/z --quick".split(' ');
        let command = without_paths(words.map(str::to_owned));
        assert_eq!(command, "run --only stat --quick");
    }
}
