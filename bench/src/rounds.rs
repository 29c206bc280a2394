//! A plan carried out: rounds through all groups, more of them where they are needed, and an end.
//!
//! A round goes through all groups; in a group each variant has its turn ([`Turn`]). So the
//! repetitions of a workload are spread over the whole run, each on a mount of its own, so that what
//! differs from one mount, or one minute, to the next is inside of the intervals.
//!
//! Once the plan's rounds are done, workloads whose intervals are still wide have more, all variants
//! of them, as long as the plan has time for that.

use crate::{
    mounted::Site,
    record::{Left, Row},
    reserve::Reserve,
    run::{Group, Outcome, Plan},
    stats::{median_interval, paired, reach},
    summary::rate,
    turn::{Round, Step, Turn},
    variant::Variant,
    workload::Workload,
};
use anyhow::{Context, Result};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// An interval that reaches further than this to either side, as a part of its middle, is wide.
pub const WIDE: f64 = 0.12;

/// A workload has more rounds where at least one in so many of its variants has a wide interval:
/// for one alone they would cost the others too much.
const WIDE_ONE_IN: usize = 4;

/// All rounds of a plan whose names are known to be unique.
pub(crate) fn carry_out(plan: &Plan, site: &Site, step: &mut Step<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let begin = Instant::now();
    let mut tables = Vec::new();
    for group in &plan.groups {
        let table = Table::lay(group, &mut outcome);
        for workload in &table.workloads {
            let start = Instant::now();
            let name = workload.name();
            step(&format!("{}: preparing {name}", group.name), Duration::ZERO)?;
            workload
                .prepare(site.of(group.below)?.lower())
                .with_context(|| format!("preparing {name}"))?;
            outcome.spend("preparing", start.elapsed());
        }
        tables.push(table);
    }
    // What was prepared may use other memory.
    let start = Instant::now();
    let reserve = Reserve::of(plan.reserved_bytes)?;
    outcome.spend("reserving memory", start.elapsed());
    let mut run = Run {
        plan,
        site,
        outcome,
        begin,
    };
    let over = !run.planned(&mut tables, step)?;
    if !over {
        run.further(&mut tables, step)?;
    }
    drop(reserve);
    let mut outcome = run.outcome;
    for table in tables {
        if over && table.rounds < plan.repetitions {
            outcome.left.push(Left {
                what: format!("{}: {} rounds", table.group.name, plan.repetitions),
                why: format!(
                    "{:.0} minutes were over after {} of them (--time-limit allows more)",
                    plan.limit.as_secs_f64() / 60.0,
                    table.rounds
                ),
            });
        }
        for workload in &table.workloads {
            workload.clean(site.of(table.group.below)?.lower())?;
        }
        outcome.rows.extend(table.whole_rows());
    }
    Ok(outcome)
}

/// A run under way.
struct Run<'a> {
    plan: &'a Plan,
    site: &'a Site,
    outcome: Outcome,
    begin: Instant,
}

impl<'a> Run<'a> {
    /// The rounds that all have; whether there was time for all of them.
    fn planned(&mut self, tables: &mut [Table<'a>], step: &mut Step<'_>) -> Result<bool> {
        for round in self.plan.rounds() {
            for table in &mut *tables {
                let all: Vec<usize> = (0..table.workloads.len()).collect();
                if !self.sweep(table, round, &all, step)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// More rounds of what is wide, as long as there is time: of each group one, then another.
    fn further(&mut self, tables: &mut [Table<'a>], step: &mut Step<'_>) -> Result<()> {
        for number in self.plan.repetitions..self.plan.repetitions_at_most {
            for table in &mut *tables {
                let mut wide = table.wide();
                // Dearest last: it is the first to be left out.
                wide.sort_by_key(|&index| table.cost(index));
                let left = self.plan.aim.saturating_sub(self.begin.elapsed());
                while !wide.is_empty() && table.mounting() + table.costs(&wide) > left {
                    wide.pop();
                }
                wide.sort_unstable();
                if !wide.is_empty() && !self.sweep(table, Round::Timed(number), &wide, step)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A round of some of a group's workloads on each variant; whether there was time for all of
    /// it. What there was no time for is as if it had not begun.
    fn sweep(
        &mut self,
        table: &mut Table<'a>,
        round: Round,
        workloads: &[usize],
        step: &mut Step<'_>,
    ) -> Result<bool> {
        let seats = table.seats.len();
        let number = match round {
            Round::Counted => 0,
            Round::Timed(number) => number + 1,
        };
        for turn in 0..seats {
            // Each round starts with another variant, so that none is always behind the same
            // neighbour.
            let seat = (turn + number) % seats;
            let end = self.begin + self.plan.limit;
            let site = self.site.of(table.group.below)?;
            let turn = Turn::of(self.plan, site, &mut self.outcome, table, seat, round);
            if !turn.take(workloads, end, step)? {
                table
                    .rows
                    .retain(|(_, row)| Round::Timed(row.repetition) != round);
                return Ok(false);
            }
        }
        table.rounds = table.rounds.max(number);
        table.sweeps += 1;
        Ok(true)
    }
}

/// A group's variants and what came out for them so far.
pub(crate) struct Table<'a> {
    pub(crate) group: &'a Group,
    pub(crate) workloads: Vec<&'a dyn Workload>,
    pub(crate) seats: Vec<Seat<'a>>,
    /// By place of workload and variant in the plan.
    pub(crate) rows: Vec<((usize, usize), Row)>,
    /// Time that mounting and unmounting took so far.
    pub(crate) mounted: Duration,
    /// Time that each workload took so far, warm-ups included.
    pub(crate) spent: Vec<Duration>,
    /// How many timed rounds have ended.
    rounds: usize,
    /// How many rounds of some kind have ended.
    sweeps: u32,
}

/// A variant of a group.
pub(crate) struct Seat<'a> {
    pub(crate) variant: &'a Variant,
    /// Places of the workloads that failed on it: not tried again.
    pub(crate) failed: HashSet<usize>,
    /// It cannot be mounted, or has failed too often.
    pub(crate) gone: bool,
}

impl<'a> Table<'a> {
    fn lay(group: &'a Group, outcome: &mut Outcome) -> Self {
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
        let seat = |variant| Seat {
            variant,
            failed: HashSet::new(),
            gone: false,
        };
        Self {
            group,
            seats: group.variants.iter().map(seat).collect(),
            rows: Vec::new(),
            mounted: Duration::ZERO,
            spent: vec![Duration::ZERO; here.len()],
            rounds: 0,
            sweeps: 0,
            workloads: here,
        }
    }

    /// What mounting each variant once takes about.
    fn mounting(&self) -> Duration {
        self.mounted / self.sweeps.max(1)
    }

    /// What a round of a workload takes about on all variants.
    fn cost(&self, index: usize) -> Duration {
        self.spent[index] / self.rounds_of(index).max(1)
    }

    fn costs(&self, workloads: &[usize]) -> Duration {
        workloads.iter().map(|&index| self.cost(index)).sum()
    }

    /// Rounds that a workload has had, with the one that counts.
    fn rounds_of(&self, index: usize) -> u32 {
        let mine = self
            .rows
            .iter()
            .filter(|((workload, _), _)| *workload == index);
        mine.map(|(_, row)| row.repetition as u32 + 2)
            .max()
            .unwrap_or(1)
    }

    /// Rates of a workload on a variant so far, in the order of rounds.
    fn rates(&self, workload: usize, seat: usize) -> Vec<f64> {
        let mine = self
            .rows
            .iter()
            .filter(|(place, _)| *place == (workload, seat));
        mine.map(|(_, row)| rate(row.measure, &row.figures))
            .collect()
    }

    /// The workloads with wide intervals on a good part of the variants.
    fn wide(&self) -> Vec<usize> {
        let is_wide = |workload: usize| {
            let base = self.rates(workload, 0);
            let intervals: Vec<f64> = (1..self.seats.len())
                .map(|seat| paired(&self.rates(workload, seat), &base))
                .filter(|ratios| !ratios.is_empty())
                .map(|ratios| reach(median_interval(&ratios)))
                .collect();
            let wide = intervals.iter().filter(|&&reach| reach > WIDE).count();
            wide > 0 && wide * WIDE_ONE_IN >= intervals.len()
        };
        (0..self.workloads.len())
            .filter(|&workload| is_wide(workload))
            .collect()
    }

    /// In the plan's order: the first variant of a workload is its baseline. A workload that failed
    /// at any repetition leaves no figures.
    fn whole_rows(self) -> impl Iterator<Item = Row> {
        let Self {
            mut rows, seats, ..
        } = self;
        // Stable: repetitions stay in their order.
        rows.sort_by_key(|&(place, _)| place);
        let whole = move |&(workload, seat): &(usize, usize)| {
            !seats[seat].gone && !seats[seat].failed.contains(&workload)
        };
        rows.into_iter()
            .filter(move |(place, _)| whole(place))
            .map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recorder::Recorder,
        run::Below,
        workload::{Measure, Place},
    };
    use std::{cell::Cell, path::Path};

    /// Says that it took as many milliseconds as there have been runs of it, or always one.
    struct Said {
        steady: bool,
        runs: Cell<u64>,
    }

    impl Workload for Said {
        fn name(&self) -> String {
            if self.steady {
                "steady"
            } else {
                "slower each time"
            }
            .into()
        }

        fn measure(&self) -> Measure {
            Measure::Time
        }

        fn prepare(&self, _lower: &Path) -> Result<()> {
            Ok(())
        }

        fn run(&self, _place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
            let runs = self.runs.replace(self.runs.get() + 1);
            let milliseconds = if self.steady { 1 } else { 1 + runs };
            recorder.record(Duration::from_millis(1));
            recorder.took(Duration::from_millis(milliseconds));
            Ok(())
        }
    }

    fn carried_out(limit: Duration) -> Outcome {
        let said = |steady| -> Box<dyn Workload> {
            Box::new(Said {
                steady,
                runs: Cell::new(0),
            })
        };
        let plan = Plan {
            groups: vec![Group {
                name: "g".into(),
                purpose: String::new(),
                below: Below::AsTold,
                variants: vec![Variant::native(), Variant::native().called("another")],
                workloads: vec![said(true), said(false)],
            }],
            repetitions: 2,
            repetitions_at_most: 4,
            aim: Duration::from_secs(60),
            limit,
            budget: Duration::from_millis(1),
            reserved_bytes: 0,
        };
        let parent = tempfile::tempdir().unwrap();
        let site = Site::new(Path::new("/bin/false"), parent.path()).unwrap();
        plan.run(&site, |_, _| Ok(())).unwrap()
    }

    #[test]
    fn only_what_is_wide_has_more_rounds() {
        let outcome = carried_out(Duration::from_secs(60));
        let of = |workload: &str, variant: &str| -> Vec<usize> {
            let mine = |row: &&Row| row.workload == workload && row.variant == variant;
            let mine = outcome.rows.iter().filter(mine);
            mine.map(|row| row.repetition).collect()
        };
        for variant in ["native", "another"] {
            assert_eq!(of("steady", variant), [0, 1]);
            assert_eq!(of("slower each time", variant), [0, 1, 2, 3]);
        }
        assert!(outcome.left.is_empty());
    }

    #[test]
    fn nothing_begins_behind_the_limit_and_that_is_said() {
        let outcome = carried_out(Duration::ZERO);
        assert!(outcome.rows.is_empty());
        let left = &outcome.left[0];
        assert!(left.why.contains("--time-limit"), "{left:?}");
    }
}
