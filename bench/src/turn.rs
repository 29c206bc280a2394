//! The turn of a variant in a round: it is mounted, the group's workloads run on it, and it is
//! unmounted.
//!
//! So one variant at a time is there: what a mount costs others while it idles (polling threads;
//! programs that look at every system call, or at every change of the lower file system) is in
//! nobody's figures.

use crate::{
    counting::{Counter, Counts},
    cpu::{Served, Usage, peak_memory},
    mounted::{Mounted, Site},
    record::{CountRow, Failure, Left, Row},
    recorder::{Figures, Recorder},
    rounds::Table,
    run::{Outcome, Plan},
    watchdog::Watchdog,
    workload::{Place, Start, Workload},
};
use anyhow::{Context, Result, bail};
use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

/// How long one repetition may hang before its mount is aborted.
const HUNG: Duration = Duration::from_secs(45);

/// How many workloads of a group may fail on a variant before it is left out.
const FAILURES_MAX: usize = 3;

/// What the kernel has to let go of after an unmount (maps, rings, their pages) is let go of in the
/// background, which the next variant is spared.
const SETTLING: Duration = Duration::from_millis(30);

/// What a repetition is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Round {
    /// Requests are counted.
    Counted,
    /// Its time counts; which one, from 0.
    Timed(usize),
}

/// Is told what is about to run, and how long it takes about; an error ends the run.
pub(crate) type Step<'a> = dyn FnMut(&str, Duration) -> Result<()> + 'a;

/// A variant's turn: the only one that is mounted.
pub(crate) struct Turn<'t, 'a> {
    plan: &'a Plan,
    site: &'a Site,
    outcome: &'t mut Outcome,
    table: &'t mut Table<'a>,
    seat: usize,
    round: Round,
    mounted: Option<Mounted>,
    /// In the round that counts.
    counter: Option<Counter>,
    /// What this mount has been warmed up for.
    warm: HashSet<String>,
}

impl<'t, 'a> Turn<'t, 'a> {
    /// Of the variant on this seat.
    pub(crate) fn of(
        plan: &'a Plan,
        site: &'a Site,
        outcome: &'t mut Outcome,
        table: &'t mut Table<'a>,
        seat: usize,
        round: Round,
    ) -> Self {
        Self {
            plan,
            site,
            outcome,
            table,
            seat,
            round,
            mounted: None,
            counter: None,
            warm: HashSet::new(),
        }
    }

    /// These workloads, in this order; whether all of them had begun before `end`.
    pub(crate) fn take(
        mut self,
        workloads: &[usize],
        end: Instant,
        step: &mut Step<'_>,
    ) -> Result<bool> {
        let group = self.table.group.name.clone();
        let variant = self.table.seats[self.seat].variant;
        for &index in workloads {
            let seat = &self.table.seats[self.seat];
            if seat.gone || seat.failed.contains(&index) {
                continue;
            }
            if Instant::now() >= end {
                self.unmount();
                return Ok(false);
            }
            let workload = self.table.workloads[index];
            let name = workload.name();
            step(
                &format!("{group}: {name} on {}", variant.name),
                self.plan.expected_of(workload, self.round),
            )?;
            if let Err(error) = self.mount(workload) {
                self.give_up(&error);
                break;
            }
            let start = Instant::now();
            let done = self.once(workload);
            self.table.spent[index] += start.elapsed();
            match done {
                Ok(Some(row)) => self.table.rows.push(((index, self.seat), row)),
                Ok(None) => (),
                Err(error) => self.failed(index, &error),
            }
        }
        self.unmount();
        Ok(true)
    }

    /// Mounts the variant unless it is as this workload needs it.
    fn mount(&mut self, workload: &dyn Workload) -> Result<()> {
        let variant = self.table.seats[self.seat].variant;
        if workload.start() == Start::FreshMount {
            self.unmount();
        }
        if self.mounted.is_none() {
            let start = Instant::now();
            self.warm.clear();
            self.mounted = Some(variant.mount(self.site)?);
            self.table.mounted += start.elapsed();
            self.outcome.spend("mounting", start.elapsed());
            if self.round == Round::Counted {
                let start = Instant::now();
                let counted = self.mounted.as_ref();
                let counted = counted.filter(|mounted| mounted.mountpoint().is_some());
                self.counter = counted.map(Counter::on);
                self.outcome.spend("counting", start.elapsed());
            }
        }
        Ok(())
    }

    fn unmount(&mut self) {
        self.counter = None;
        let Some(mounted) = self.mounted.take() else {
            return;
        };
        if mounted.mountpoint().is_some() {
            let start = Instant::now();
            drop(mounted);
            std::thread::sleep(SETTLING);
            self.table.mounted += start.elapsed();
            self.outcome.spend("unmounting", start.elapsed());
        }
    }

    /// It cannot be mounted, or not any more.
    fn give_up(&mut self, error: &anyhow::Error) {
        let (group, variant) = (
            self.table.group.name.clone(),
            self.table.seats[self.seat].variant.name.clone(),
        );
        self.table.seats[self.seat].gone = true;
        if self.round == Round::Counted {
            self.outcome.left.push(Left {
                what: variant,
                why: format!("{error:#}"),
            });
        } else {
            self.outcome.failures.push(Failure {
                group,
                workload: "mounting".into(),
                variant,
                why: format!("{error:#}"),
            });
        }
    }

    fn failed(&mut self, index: usize, error: &anyhow::Error) {
        let (group, variant) = (
            self.table.group.name.clone(),
            self.table.seats[self.seat].variant.name.clone(),
        );
        let workload = self.table.workloads[index].name();
        // Now, too: the end of the run is far.
        eprintln!("shmfuse-bench: FAILED: {group}: {workload} on {variant}: {error:#}");
        self.outcome.failures.push(Failure {
            group: group.clone(),
            workload,
            variant: variant.clone(),
            why: format!("{error:#}"),
        });
        // What is left of the mount may be broken: the next one is a new one.
        self.unmount();
        let seat = &mut self.table.seats[self.seat];
        seat.failed.insert(index);
        if seat.failed.len() == FAILURES_MAX {
            seat.gone = true;
            self.outcome.left.push(Left {
                what: format!("{group}: {variant}"),
                why: format!("{FAILURES_MAX} workloads have failed on it"),
            });
        }
    }

    /// One repetition, behind a warm-up where the mount needs one; a row if it is a timed one.
    fn once(&mut self, workload: &dyn Workload) -> Result<Option<Row>> {
        let variant = self.table.seats[self.seat].variant;
        let mounted = self.mounted.as_ref().context("not mounted")?;
        let cold = match workload.warmed_by() {
            Some(key) => self.warm.insert(key),
            None => true,
        };
        if cold {
            let start = Instant::now();
            workload.settle(self.site.lower())?;
            self.outcome.spend("settling", start.elapsed());
        }
        if cold && workload.warmed_by().is_some() {
            let start = Instant::now();
            let budget = self.plan.budget_of_warm_up();
            measure(&Task::WarmUp(workload), mounted, self.site, budget)?;
            self.outcome.spend("warming up", start.elapsed());
        }
        let start = Instant::now();
        let task = match &self.counter {
            Some(counter) => Task::Counted(workload, counter),
            None => Task::Timed(workload),
        };
        let budget = self.plan.budget_of(self.round);
        let measured = measure(&task, mounted, self.site, budget)?;
        let what = match self.round {
            Round::Counted => "counting",
            Round::Timed(_) => "timed",
        };
        let group = &self.table.group.name;
        self.outcome.spend(what, start.elapsed());
        if let Some(counts) = measured.counts {
            self.outcome.counts.push(CountRow {
                group: group.clone(),
                workload: workload.name(),
                variant: variant.name.clone(),
                counts,
            });
        }
        let Round::Timed(repetition) = self.round else {
            return Ok(None);
        };
        Ok(Some(Row {
            group: group.clone(),
            workload: workload.name(),
            measure: workload.measure(),
            variant: variant.name.clone(),
            repetition,
            figures: measured.figures,
            latency_curve_ns: measured.latency_curve_ns,
        }))
    }
}

/// What is to be done of a workload.
enum Task<'a> {
    WarmUp(&'a dyn Workload),
    Counted(&'a dyn Workload, &'a Counter),
    Timed(&'a dyn Workload),
}

/// What one repetition came to.
struct Measured {
    figures: Figures,
    latency_curve_ns: Vec<u64>,
    counts: Option<Counts>,
}

/// Runs a workload once, in a scratch directory of its own, and notes what it took; counts requests
/// if told to, which disturbs what is timed.
fn measure(task: &Task<'_>, mounted: &Mounted, site: &Site, budget: Duration) -> Result<Measured> {
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
    let (app_before, daemon_before) = (Usage::of_application()?, daemon(mounted)?);
    let mut recorder = Recorder::within(budget);
    let start = Instant::now();
    let (result, counts) = match task {
        Task::WarmUp(workload) => (workload.warm_up(&place, &mut recorder), None),
        Task::Timed(workload) => (workload.run(&place, &mut recorder), None),
        Task::Counted(workload, counter) => {
            let run = || {
                // Its time begins when the counts are taken.
                recorder = Recorder::within(budget);
                workload.run(&place, &mut recorder)
            };
            let (result, counts) = counter.count(mounted, site.shmfuse(), run);
            (result, Some(counts))
        }
    };
    let wall = start.elapsed();
    let app = Usage::of_application()? - app_before;
    let served = daemon(mounted).map(|after| after - daemon_before);
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
