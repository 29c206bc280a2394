//! A run from its plan to its record, with what is to be known of the machine around it.

use crate::{
    copies,
    floor::Floor,
    host::{Host, Listener},
    interrupt,
    mounted::Site,
    record::{About, GroupAbout, Left, Record, SCHEMA},
    run::{Group, Plan},
    variant::How,
};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Carries out a plan below `parent`, with a progress bar, and puts the record together. `left` is
/// what had been left out of the plan.
///
/// # Errors
///
/// If the machine cannot be measured or directories cannot be made; what fails in the plan is in
/// the record.
pub fn carry_out(
    plan: &Plan,
    shmfuse: &Path,
    parent: &Path,
    command: &str,
    left: Vec<Left>,
) -> Result<Record> {
    carry_out_with(plan, shmfuse, parent, command, left, |_| Ok(()))
}

/// The same with something put into the lower directory before.
///
/// # Errors
///
/// As [`carry_out`]; and what `fill` says.
pub fn carry_out_with(
    plan: &Plan,
    shmfuse: &Path,
    parent: &Path,
    command: &str,
    left: Vec<Left>,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<Record> {
    let host = Host::read(shmfuse);
    let listener = Listener::start();
    let floor = Floor::measure()?;
    let start = Instant::now();
    let site = Site::new(shmfuse, parent)?;
    fill(site.lower())?;
    let lower = file_system(site.lower());
    let mut progress = Progress::new(plan.expected_at_most());
    let outcome = plan.run(&site, |what, takes| {
        interrupt::check()?;
        progress.step(what, takes);
        Ok(())
    });
    progress.bar.finish_and_clear();
    let mut outcome = outcome?;
    let mut all_left = left;
    all_left.append(&mut outcome.left);
    all_left.sort_by(|a, b| a.what.cmp(&b.what));
    all_left.dedup_by(|a, b| a.what == b.what);
    let about = About {
        schema: SCHEMA,
        command: command.into(),
        lower,
        repetitions: plan.repetitions,
        reserved_mib: plan.reserved_bytes >> 20,
        budget_s: plan.budget.as_secs_f64(),
        took_s: start.elapsed().as_secs_f64(),
        spent_s: outcome.spent_s,
        host,
        noise: listener.stop(),
        floor,
        groups: plan.groups.iter().map(about_group).collect(),
        peers: peers(&plan.groups),
        failures: outcome.failures,
        left: all_left,
    };
    Ok(Record {
        about,
        rows: outcome.rows,
        counts: outcome.counts,
    })
}

/// A bar with the time left; lines where there is no terminal to draw a bar on.
struct Progress {
    bar: ProgressBar,
    start: Instant,
    expected: Duration,
    done: Duration,
    said: Instant,
}

/// How often a line is printed where there is no terminal.
const LINES: Duration = Duration::from_secs(30);

impl Progress {
    fn new(expected: Duration) -> Self {
        // In milliseconds of expected work: steps are not equally long.
        let style =
            ProgressStyle::with_template("{bar:30} {percent:>3} % {eta:>5} left  {wide_msg}")
                .expect("the template is a constant");
        let bar = ProgressBar::new(expected.as_millis() as u64).with_style(style);
        bar.enable_steady_tick(Duration::from_secs(1));
        Self {
            bar,
            start: Instant::now(),
            expected,
            done: Duration::ZERO,
            said: Instant::now(),
        }
    }

    /// `what` begins, and takes about so long.
    fn step(&mut self, what: &str, takes: Duration) {
        self.bar.set_position(self.done.as_millis() as u64);
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() && self.said.elapsed() >= LINES {
            self.said = Instant::now();
            let part = self.done.as_secs_f64() / self.expected.as_secs_f64().max(0.001);
            let left = self.start.elapsed().as_secs_f64() * (1.0 / part.max(0.001) - 1.0);
            let (percent, minutes) = (part * 100.0, left / 60.0);
            eprintln!("shmfuse-bench: {percent:.0} %, {minutes:.0} minutes left: {what}");
        }
        self.done += takes;
    }
}

fn about_group(group: &Group) -> GroupAbout {
    let variants = group
        .variants
        .iter()
        .map(|variant| (variant.name.clone(), variant.words()))
        .collect();
    let mut copies = BTreeMap::new();
    for workload in &group.workloads {
        let Some(access) = workload.access() else {
            continue;
        };
        let of_variants: BTreeMap<String, f64> = group
            .variants
            .iter()
            .filter_map(|variant| Some((variant.name.clone(), copies::by_design(variant, access)?)))
            .collect();
        copies.insert(workload.name(), of_variants);
    }
    GroupAbout {
        name: group.name.clone(),
        purpose: group.purpose.clone(),
        variants,
        copies,
    }
}

/// Variants that are none of ours, by name.
fn peers(groups: &[Group]) -> Vec<String> {
    let mut names: Vec<String> = groups
        .iter()
        .flat_map(|group| &group.variants)
        .filter(|variant| matches!(variant.how, How::Command(_)))
        .map(|variant| variant.name.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The name of the file system that a directory is on, by findmnt(8); empty where it is missing.
fn file_system(folder: &Path) -> String {
    let output = Command::new("findmnt")
        .args(["--noheadings", "--output", "FSTYPE", "--target"])
        .arg(folder)
        .stdin(Stdio::null())
        .output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Where the lower directory is made: `ext4` and `disk` are the disk of temporary files that last,
/// `tmpfs` is memory, else it is a directory.
///
/// # Errors
///
/// If `ext4` was asked for and that disk has another file system.
pub fn place(name: &str) -> Result<&Path> {
    let disk = Path::new("/var/tmp");
    match name {
        "disk" => Ok(disk),
        "ext4" => {
            let found = file_system(disk);
            anyhow::ensure!(
                found == "ext4",
                "{} is on {found}, not on ext4: name a directory that is (--lower PATH)",
                disk.display()
            );
            Ok(disk)
        }
        "tmpfs" => Ok(Path::new("/dev/shm")),
        path => {
            let path = Path::new(path);
            path.metadata().with_context(|| {
                format!("--lower {}: not ext4, tmpfs or a directory", path.display())
            })?;
            Ok(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        run::Below,
        variant::Variant,
        workload::{
            Start,
            names::{Attributes, Question, Rename},
        },
    };

    fn plan(variants: Vec<Variant>) -> Plan {
        Plan {
            groups: vec![Group {
                name: "g".into(),
                purpose: String::new(),
                below: Below::AsTold,
                variants,
                workloads: vec![
                    Box::new(Attributes {
                        question: Question::Stat,
                        files: 10,
                        threads: 1,
                        start: Start::Warm,
                    }),
                    Box::new(Rename),
                ],
            }],
            repetitions: 2,
            repetitions_at_most: 2,
            aim: Duration::ZERO,
            limit: Duration::from_secs(60),
            reserved_bytes: 0,
            budget: Duration::from_millis(2),
        }
    }

    fn record(plan: &Plan) -> Result<Record> {
        let parent = tempfile::tempdir().unwrap();
        let record = carry_out(
            plan,
            Path::new("/bin/false"),
            parent.path(),
            "x",
            Vec::new(),
        );
        let left = std::fs::read_dir(parent.path()).unwrap().count();
        assert_eq!(left, 0, "something is left behind");
        record
    }

    fn command(name: &str, script: &str) -> Variant {
        Variant {
            name: name.into(),
            how: How::Command(["sh", "-c", script].map(str::to_owned).into()),
        }
    }

    #[test]
    fn rows_come_in_the_order_of_the_plan_and_warm_ups_do_not_count() {
        let another = Variant::native().called("another");
        let record = record(&plan(vec![Variant::native(), another])).unwrap();
        let names: Vec<&str> = record.rows.iter().map(|row| row.variant.as_str()).collect();
        let each = ["native", "native", "another", "another"];
        assert_eq!(names, [each, each].concat());
        assert!(record.rows.iter().all(|row| row.figures.operations > 0));
    }

    #[test]
    fn a_variant_that_cannot_be_mounted_is_named_and_the_rest_goes_on() {
        let broken = command("broken", "echo no way {lower} {mountpoint}; exit 1");
        let record = record(&plan(vec![Variant::native(), broken])).unwrap();
        assert_eq!(record.rows.len(), 4);
        let left = &record.about.left;
        assert!(
            left[0].what == "broken" && left[0].why.contains("no way"),
            "{left:?}"
        );
        assert_eq!(record.about.peers, ["broken"]);
    }

    #[test]
    fn two_variants_of_one_name_are_refused() {
        let error = record(&plan(vec![Variant::native(), Variant::native()])).unwrap_err();
        assert!(error.to_string().contains("native"), "{error}");
    }

    #[test]
    fn a_place_is_a_file_system_or_a_directory() {
        assert_eq!(place("tmpfs").unwrap(), Path::new("/dev/shm"));
        assert!(place("/nonexistent").is_err());
        assert!(!file_system(Path::new("/")).is_empty());
    }
}
