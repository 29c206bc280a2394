//! The plan of a run, and how it is carried out.

use crate::{
    counting::{Counter, Counts},
    cpu::{Served, Usage, peak_memory},
    mounted::{Mounted, Site},
    record::{CountRow, Failure, Left, Row},
    recorder::{Figures, Recorder},
    variant::{How, Variant},
    watchdog::Watchdog,
    workload::{Place, Start, Workload},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

/// How long one repetition may hang before its mount is aborted.
const HUNG: Duration = Duration::from_secs(45);

/// How many workloads of a group may fail on a variant before the rest is spared it.
const FAILURES_MAX: usize = 3;

/// Part of the time that a repetition has which is not timed: a warm-up, or one that is counted.
const UNTIMED: f64 = 0.5;

/// Workloads crossed with variants that are mounted at the same time.
pub struct Group {
    /// Its name in tables: short, unique within a plan.
    pub name: String,
    /// What it is there to show, in a sentence.
    pub purpose: String,
    /// What to compare; the first is the baseline of ratios.
    pub variants: Vec<Variant>,
    /// What to do.
    pub workloads: Vec<Box<dyn Workload>>,
}

impl Group {
    fn pairs(&self) -> usize {
        self.variants.len() * self.workloads.len()
    }
}

/// Groups, one after the other.
pub struct Plan {
    /// What to do, in this order.
    pub groups: Vec<Group>,
    /// How often each workload runs on each variant and counts, at least 1.
    pub repetitions: usize,
    /// Time of a repetition, of workloads that can end at any operation.
    pub budget: Duration,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every repetition that was timed.
    pub rows: Vec<Row>,
    /// What was counted.
    pub counts: Vec<CountRow>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// What could not be run.
    pub left: Vec<Left>,
}

/// What a repetition is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    WarmUp,
    Counted,
    Timed(usize),
}

impl Plan {
    fn rounds(&self) -> impl Iterator<Item = Round> {
        [Round::WarmUp, Round::Counted]
            .into_iter()
            .chain((0..self.repetitions).map(Round::Timed))
    }

    /// How long it takes about: the length of a progress bar.
    pub fn expected(&self) -> Duration {
        self.groups
            .iter()
            .map(|group| self.expected_of_group(group))
            .sum()
    }

    /// How long one group takes about.
    pub fn expected_of_group(&self, group: &Group) -> Duration {
        let once = |workload: &dyn Workload| -> Duration {
            self.rounds()
                .map(|round| self.expected_of(workload, round))
                .sum()
        };
        let all: Duration = group.workloads.iter().map(|it| once(it.as_ref())).sum();
        all * group.variants.len() as u32
    }

    fn expected_of(&self, workload: &dyn Workload, round: Round) -> Duration {
        let time = workload.takes().unwrap_or(self.budget);
        let part = match (round, workload.takes()) {
            (Round::WarmUp | Round::Counted, None) => UNTIMED,
            _ => 1.0,
        };
        time.mul_f64(part) + workload.overhead()
    }

    /// Mounts each group's variants over the site's lower directory at once and carries out the
    /// group, interleaved. `step` is told what is about to run, and how long it takes about.
    ///
    /// What fails is recorded and not tried again; the rest goes on.
    ///
    /// # Errors
    ///
    /// If the plan is none, its directories cannot be prepared, or `step` says to stop.
    pub fn run(
        &self,
        site: &Site,
        mut step: impl FnMut(&str, Duration) -> Result<()>,
    ) -> Result<Outcome> {
        ensure!(self.repetitions > 0, "a run has at least one repetition");
        let mut outcome = Outcome::default();
        for group in &self.groups {
            ensure_unique(group)?;
            let (here, missing): (Vec<&dyn Workload>, Vec<&dyn Workload>) = group
                .workloads
                .iter()
                .map(Box::as_ref)
                .partition(|workload| workload.missing().is_none());
            outcome.left.extend(missing.iter().map(|workload| Left {
                what: workload.name(),
                why: format!(
                    "{} is not installed (cargo xtask setup installs it)",
                    workload.missing().unwrap_or_default()
                ),
            }));
            // Before anything is mounted: a mount need not see what others make below it.
            for workload in &here {
                let name = workload.name();
                step(&format!("{}: preparing {name}", group.name), Duration::ZERO)?;
                workload
                    .prepare(site.lower())
                    .with_context(|| format!("preparing {name}"))?;
            }
            let mut running = Running::start(self, group, site, &mut outcome);
            for workload in &here {
                running.interleave(*workload, &mut step)?;
            }
            drop(running);
            for workload in &here {
                workload.clean(site.lower())?;
            }
        }
        Ok(outcome)
    }
}

fn ensure_unique(group: &Group) -> Result<()> {
    let mut names = HashSet::new();
    for variant in &group.variants {
        let (name, group) = (&variant.name, &group.name);
        ensure!(
            names.insert(name),
            "{group}: two variants are called {name}"
        );
    }
    let mut names = HashSet::new();
    for workload in &group.workloads {
        let (name, group) = (workload.name(), &group.name);
        ensure!(
            names.insert(name.clone()),
            "{group}: two workloads are called {name}"
        );
    }
    ensure!(group.pairs() > 0, "{}: nothing to compare", group.name);
    Ok(())
}

/// A variant of a group, mounted unless it has failed.
struct Seat<'a> {
    variant: &'a Variant,
    mounted: Option<Mounted>,
    failures: usize,
}

/// A group that is being carried out.
struct Running<'a> {
    plan: &'a Plan,
    group: &'a Group,
    site: &'a Site,
    outcome: &'a mut Outcome,
    seats: Vec<Seat<'a>>,
}

impl<'a> Running<'a> {
    fn start(plan: &'a Plan, group: &'a Group, site: &'a Site, outcome: &'a mut Outcome) -> Self {
        let mut seats = Vec::new();
        for variant in &group.variants {
            match variant.mount(site) {
                Ok(mounted) => seats.push(Seat {
                    variant,
                    mounted: Some(mounted),
                    failures: 0,
                }),
                Err(error) => outcome.left.push(Left {
                    what: variant.name.clone(),
                    why: format!("{error:#}"),
                }),
            }
        }
        Self {
            plan,
            group,
            site,
            outcome,
            seats,
        }
    }

    fn interleave(
        &mut self,
        workload: &dyn Workload,
        step: &mut impl FnMut(&str, Duration) -> Result<()>,
    ) -> Result<()> {
        let name = workload.name();
        let mut failed = HashSet::new();
        let mut rows = Vec::new();
        for (number, round) in self.plan.rounds().enumerate() {
            for turn in 0..self.seats.len() {
                // Each round starts with another variant, so that none is always behind the same
                // neighbour.
                let index = (turn + number) % self.seats.len();
                if failed.contains(&index) || self.seats[index].failures >= FAILURES_MAX {
                    continue;
                }
                let variant = self.seats[index].variant.name.clone();
                let label = format!("{}: {name} on {variant}", self.group.name);
                step(&label, self.plan.expected_of(workload, round))?;
                match self.once(index, workload, round) {
                    Ok(Some(row)) => rows.push((index, row)),
                    Ok(None) => (),
                    Err(error) => {
                        failed.insert(index);
                        self.outcome.failures.push(Failure {
                            group: self.group.name.clone(),
                            workload: name.clone(),
                            variant,
                            why: format!("{error:#}"),
                        });
                        // What is left of the mount may be broken: the next one is a new one.
                        let seat = &mut self.seats[index];
                        seat.mounted = None;
                        seat.failures += 1;
                        if seat.failures == FAILURES_MAX {
                            self.outcome.left.push(Left {
                                what: format!(
                                    "{}: the rest on {}",
                                    self.group.name, seat.variant.name
                                ),
                                why: format!("{FAILURES_MAX} workloads have failed on it"),
                            });
                        }
                    }
                }
            }
        }
        // In the plan's order again: the first variant of a workload is its baseline. A workload
        // that failed at any repetition leaves no figures.
        rows.sort_by_key(|&(index, _)| index);
        let whole = rows
            .into_iter()
            .filter(|(index, _)| !failed.contains(index));
        self.outcome.rows.extend(whole.map(|(_, row)| row));
        Ok(())
    }

    /// One repetition; a row if it is a timed one.
    fn once(&mut self, index: usize, workload: &dyn Workload, round: Round) -> Result<Option<Row>> {
        let seat = &mut self.seats[index];
        if workload.start() == Start::FreshMount && !matches!(seat.variant.how, How::Native) {
            seat.mounted = None;
        }
        if seat.mounted.is_none() {
            seat.mounted = Some(seat.variant.mount(self.site)?);
        }
        let (variant, mounted) = (seat.variant, seat.mounted.as_ref().context("not mounted")?);
        let budget = match round {
            Round::Timed(_) => self.plan.budget,
            _ => self.plan.budget.mul_f64(UNTIMED),
        };
        let counted = round == Round::Counted && !matches!(variant.how, How::Native);
        let measured = measure(workload, mounted, self.site, budget, counted)?;
        if let Some(counts) = measured.counts {
            self.outcome.counts.push(CountRow {
                group: self.group.name.clone(),
                workload: workload.name(),
                variant: variant.name.clone(),
                counts,
            });
        }
        let Round::Timed(repetition) = round else {
            return Ok(None);
        };
        Ok(Some(Row {
            group: self.group.name.clone(),
            workload: workload.name(),
            measure: workload.measure(),
            variant: variant.name.clone(),
            repetition,
            figures: measured.figures,
            latency_curve_ns: measured.latency_curve_ns,
        }))
    }
}

/// What one repetition came to.
struct Measured {
    figures: Figures,
    latency_curve_ns: Vec<u64>,
    counts: Option<Counts>,
}

/// Runs a workload once, in a scratch directory of its own, and notes what it took; counts requests
/// if told to, which disturbs what is timed.
fn measure(
    workload: &dyn Workload,
    mounted: &Mounted,
    site: &Site,
    budget: Duration,
    counted: bool,
) -> Result<Measured> {
    // A name of its own: a mount may believe for long what it has once seen of a name.
    let name = site.new_name();
    let scratch = mounted.root().join(&name);
    let watchdog = Watchdog::over(mounted.mountpoint().map(Into::into), HUNG);
    fs::create_dir(&scratch).with_context(|| scratch.display().to_string())?;
    let place = Place {
        root: mounted.root(),
        lower: site.lower(),
        scratch: &scratch,
        native: mounted.mountpoint().is_none(),
    };
    let daemon = |mounted: &Mounted| match mounted.daemon() {
        Some(pid) => Served::by(pid),
        None => Ok(Served::default()),
    };
    let counter = counted.then(|| Counter::start(mounted, site.shmfuse()));
    let (app_before, daemon_before) = (Usage::of_application()?, daemon(mounted)?);
    let mut recorder = Recorder::within(budget);
    let start = Instant::now();
    let result = workload.run(&place, &mut recorder);
    let wall = start.elapsed();
    let app = Usage::of_application()? - app_before;
    let served = daemon(mounted).map(|after| after - daemon_before);
    let counts = counter.map(Counter::finish);
    let removed = fs::remove_dir_all(&scratch);
    if removed.is_err() {
        let _ = fs::remove_dir_all(site.lower().join(&name));
    }
    let bitten = watchdog.call_off();
    if bitten {
        bail!("it hung for {} s and was aborted", HUNG.as_secs());
    }
    result?;
    removed.with_context(|| scratch.display().to_string())?;
    let served = served?;
    let latency_curve_ns = recorder.latency_curve();
    let figures = Figures {
        cpu_app_ns: recorder.app_cpu(app.cpu).as_nanos() as u64,
        cpu_daemon_ns: served.threads.cpu.as_nanos() as u64,
        cpu_kernel_ns: served.kernel.cpu.as_nanos() as u64,
        switches: app.switches + served.threads.switches + served.kernel.switches,
        daemon_peak_bytes: mounted.daemon().map(peak_memory).transpose()?.unwrap_or(0),
        ..recorder.finish(wall)
    };
    let counts = counts.map(|counts| Counts {
        operations: figures.operations,
        ..counts
    });
    Ok(Measured {
        figures,
        latency_curve_ns,
        counts,
    })
}
