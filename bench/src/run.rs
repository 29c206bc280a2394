//! The plan of a run.

use crate::{
    record::{CountRow, Failure, Left, Row},
    rounds,
    turn::Round,
    variant::Variant,
    workload::Workload,
};
use anyhow::{Result, ensure};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Part of the time that a repetition has which is not timed: a warm-up, or one that is counted.
const UNTIMED: f64 = 0.5;

/// How long it takes to ask for counts before and after a repetition.
const COUNTING: Duration = Duration::from_millis(25);

/// Where a group's lower directory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Below {
    /// Where the run was told to have it.
    #[default]
    AsTold,
    /// In memory, on tmpfs.
    Memory,
}

/// Workloads crossed with variants, which are mounted in turn: one at a time.
pub struct Group {
    /// Its name in tables: short, unique within a plan.
    pub name: String,
    /// What it is there to show, in a sentence.
    pub purpose: String,
    /// On which lower directory.
    pub below: Below,
    /// What to compare; the first is the baseline of ratios.
    pub variants: Vec<Variant>,
    /// What to do.
    pub workloads: Vec<Box<dyn Workload>>,
}

/// Groups, one after the other, as often as there are rounds.
pub struct Plan {
    /// What to do, in this order.
    pub groups: Vec<Group>,
    /// How often each workload runs on each variant and counts, at least 1.
    pub repetitions: usize,
    /// How often it does where intervals are wide and there is time; no less.
    pub repetitions_at_most: usize,
    /// When this much time has gone, no round that is not needed begins.
    pub aim: Duration,
    /// When this much time has gone, nothing begins; what began ends, or is ended within a minute
    /// and a half (a repetition that hangs, and its mount).
    pub limit: Duration,
    /// Free memory that stays with the machine, in bytes: [`Reserve`](crate::reserve::Reserve).
    pub reserved_bytes: u64,
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
    /// Where the time went: seconds by what was done.
    pub spent_s: BTreeMap<String, f64>,
}

impl Outcome {
    /// Notes that time went into `what`.
    pub(crate) fn spend(&mut self, what: &str, time: Duration) {
        *self.spent_s.entry(what.into()).or_default() += time.as_secs_f64();
    }
}

impl Plan {
    /// The rounds of a run: one that counts, then those that are timed.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = Round> {
        [Round::Counted]
            .into_iter()
            .chain((0..self.repetitions).map(Round::Timed))
    }

    /// How long it takes about, without rounds that are not needed.
    pub fn expected(&self) -> Duration {
        self.groups
            .iter()
            .map(|group| self.expected_of_group(group))
            .sum()
    }

    /// How long it takes about with all of these: the length of a progress bar.
    pub fn expected_at_most(&self) -> Duration {
        let expected = self.expected();
        let rounds = |repetitions: usize| repetitions as f64 + 1.0;
        let more =
            rounds(self.repetitions_at_most.max(self.repetitions)) / rounds(self.repetitions);
        expected.mul_f64(more).min(self.aim).max(expected)
    }

    /// How long one group takes about, all rounds together.
    pub fn expected_of_group(&self, group: &Group) -> Duration {
        let mounting: Duration = group.variants.iter().map(Variant::mounting).sum();
        let turn = |round: Round| -> Duration {
            let mut warm = HashSet::new();
            let of_one = |workload: &dyn Workload| {
                let key = workload.warmed_by();
                let warming = key.is_some_and(|key| warm.insert(key));
                let warming = if warming {
                    self.expected_of_warm_up(workload)
                } else {
                    Duration::ZERO
                };
                warming + self.expected_of(workload, round)
            };
            group.workloads.iter().map(Box::as_ref).map(of_one).sum()
        };
        let variants = group.variants.len() as u32;
        self.rounds()
            .map(|round| mounting + turn(round) * variants)
            .sum()
    }

    /// Time that a repetition has to itself.
    pub(crate) fn budget_of(&self, round: Round) -> Duration {
        match round {
            Round::Timed(_) => self.budget,
            Round::Counted => self.budget.mul_f64(UNTIMED),
        }
    }

    /// Time of a warm-up that can end at any operation.
    pub(crate) fn budget_of_warm_up(&self) -> Duration {
        self.budget.mul_f64(UNTIMED)
    }

    /// How long one repetition takes about.
    pub(crate) fn expected_of(&self, workload: &dyn Workload, round: Round) -> Duration {
        let time = workload.takes().unwrap_or_else(|| self.budget_of(round));
        let counting = match round {
            Round::Counted => COUNTING,
            Round::Timed(_) => Duration::ZERO,
        };
        time + workload.overhead() + counting
    }

    fn expected_of_warm_up(&self, workload: &dyn Workload) -> Duration {
        let time = workload.takes().unwrap_or_else(|| self.budget_of_warm_up());
        time + workload.overhead()
    }

    /// Carries it out below the site's lower directory. Each round goes through all groups and
    /// their variants, and does all of a group's workloads on one variant, the only one that is
    /// mounted then. `step` is told what is about to run, and how long it takes about.
    ///
    /// What fails is recorded and not tried again; the rest goes on.
    ///
    /// # Errors
    ///
    /// If the plan is none, its directories cannot be prepared, or `step` says to stop.
    pub fn run(
        &self,
        site: &crate::mounted::Site,
        mut step: impl FnMut(&str, Duration) -> Result<()>,
    ) -> Result<Outcome> {
        ensure!(self.repetitions > 0, "a run has at least one repetition");
        for group in &self.groups {
            ensure_unique(group)?;
        }
        rounds::carry_out(self, site, &mut step)
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
    ensure!(
        !group.variants.is_empty() && !group.workloads.is_empty(),
        "{}: nothing to compare",
        group.name
    );
    Ok(())
}
