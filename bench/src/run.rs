//! The plan of a run, and how it is carried out.

use crate::{
    cpu::{Usage, peak_memory},
    recorder::{Figures, Recorder},
    variant::{How, Mounted, Variant},
    workload::{Measure, Place, Workload},
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// Workloads crossed with variants.
pub struct Plan {
    /// What to compare; the first is the baseline of ratios.
    pub variants: Vec<Variant>,
    /// What to do.
    pub workloads: Vec<Box<dyn Workload>>,
    /// How often each workload runs on each variant and counts, at least 1.
    pub repetitions: usize,
    /// How often it runs before that and does not count.
    pub warm_ups: usize,
    /// The `shmfuse` binary.
    pub shmfuse: PathBuf,
}

/// One repetition of a workload on a variant.
#[derive(Clone, Debug)]
pub struct Row {
    /// [`Workload::name`].
    pub workload: String,
    /// [`Workload::measure`].
    pub measure: Measure,
    /// [`Variant::name`].
    pub variant: String,
    /// 0 ..= repetitions - 1.
    pub repetition: usize,
    /// What was noted.
    pub figures: Figures,
    /// Latencies in nanoseconds at each of [`QUANTILES`](crate::recorder::QUANTILES).
    pub latency_curve_ns: Vec<u64>,
}

impl Plan {
    /// Repetitions of all kinds: the length of a progress bar.
    pub fn steps(&self) -> usize {
        self.workloads.len() * self.variants.len() * (self.repetitions + self.warm_ups)
    }

    /// Mounts every variant over `lower` at once and runs the plan, interleaved. `step` is told
    /// what is about to run.
    ///
    /// # Errors
    ///
    /// If anything cannot be prepared or mounted, or an operation fails: a run is whole or it is
    /// no run.
    pub fn run(&self, lower: &Path, mut step: impl FnMut(&str)) -> Result<Vec<Row>> {
        ensure!(self.repetitions > 0, "a run has at least one repetition");
        let mut names = HashSet::new();
        for variant in &self.variants {
            ensure!(
                names.insert(&variant.name),
                "two variants are called {}",
                variant.name
            );
        }
        for workload in &self.workloads {
            workload
                .prepare(lower)
                .with_context(|| format!("preparing {}", workload.name()))?;
        }
        let mountpoints = tempfile::tempdir().context("a directory for mountpoints")?;
        let mounted = self.mount_all(lower, mountpoints.path())?;
        let mut rows = Vec::new();
        for workload in &self.workloads {
            let mut of_workload = Vec::new();
            for round in 0..self.warm_ups + self.repetitions {
                for turn in 0..self.variants.len() {
                    // Each round starts with another variant, so that none is always behind the
                    // same neighbour.
                    let index = (turn + round) % self.variants.len();
                    let (variant, mounted) = (&self.variants[index], &mounted[index]);
                    step(&format!("{} on {}", workload.name(), variant.name));
                    let (figures, latency_curve_ns) = once(workload.as_ref(), variant, mounted)
                        .with_context(|| format!("{} on {}", workload.name(), variant.name))?;
                    if let Some(repetition) = round.checked_sub(self.warm_ups) {
                        of_workload.push((
                            index,
                            Row {
                                workload: workload.name(),
                                measure: workload.measure(),
                                variant: variant.name.clone(),
                                repetition,
                                figures,
                                latency_curve_ns,
                            },
                        ));
                    }
                }
            }
            // In the plan's order again: the first variant of a workload is its baseline.
            of_workload.sort_by_key(|&(index, _)| index);
            rows.extend(of_workload.into_iter().map(|(_, row)| row));
        }
        Ok(rows)
    }

    fn mount_all(&self, lower: &Path, mountpoints: &Path) -> Result<Vec<Mounted>> {
        self.variants
            .iter()
            .enumerate()
            .map(|(index, variant)| {
                let mountpoint = mountpoints.join(format!("mnt-{index}"));
                fs::create_dir(&mountpoint)?;
                variant.mount(&self.shmfuse, lower, &mountpoint)
            })
            .collect()
    }
}

fn once(
    workload: &dyn Workload,
    variant: &Variant,
    mounted: &Mounted,
) -> Result<(Figures, Vec<u64>)> {
    let scratch = mounted
        .root()
        .join(format!("bench-scratch-{}", std::process::id()));
    fs::create_dir(&scratch).with_context(|| scratch.display().to_string())?;
    let native = matches!(variant.how, How::Native);
    let place = Place {
        root: mounted.root(),
        scratch: &scratch,
        native,
    };
    let mut recorder = Recorder::default();
    let daemon = |mounted: &Mounted| match mounted.daemon() {
        Some(pid) => Usage::of_process(pid),
        None => Ok(Usage::default()),
    };
    let (app_before, daemon_before) = (Usage::of_application()?, daemon(mounted)?);
    let start = Instant::now();
    let result = workload.run(&place, &mut recorder);
    let wall = start.elapsed();
    let app = Usage::of_application()? - app_before;
    let served = daemon(mounted)? - daemon_before;
    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    result?;
    let curve = recorder.latency_curve();
    let figures = Figures {
        cpu_app_ns: app.cpu.as_nanos() as u64,
        cpu_daemon_ns: served.cpu.as_nanos() as u64,
        switches: app.switches + served.switches,
        daemon_peak_bytes: mounted.daemon().map(peak_memory).transpose()?.unwrap_or(0),
        ..recorder.finish(wall)
    };
    Ok((figures, curve))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::metadata::{CreateUnlink, Stat};

    fn plan(variants: Vec<Variant>) -> Plan {
        Plan {
            variants,
            workloads: vec![
                Box::new(Stat {
                    files: 10,
                    rounds: 1,
                    threads: 1,
                }),
                Box::new(CreateUnlink { files: 5 }),
            ],
            repetitions: 2,
            warm_ups: 1,
            shmfuse: "/nonexistent".into(),
        }
    }

    #[test]
    fn warm_ups_do_not_count_and_nothing_is_left_behind() {
        let lower = tempfile::tempdir().unwrap();
        let mut steps = 0;
        let plan = plan(vec![Variant::native()]);
        let rows = plan.run(lower.path(), |_| steps += 1).unwrap();
        assert_eq!(steps, plan.steps());
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| row.figures.operations > 0));
        let left: Vec<_> = fs::read_dir(lower.path())
            .unwrap()
            .map(|e| e.unwrap())
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn rows_come_in_the_order_of_the_plan() {
        let lower = tempfile::tempdir().unwrap();
        let other = Variant {
            name: "another".into(),
            how: How::Native,
        };
        let rows = plan(vec![Variant::native(), other])
            .run(lower.path(), |_| ())
            .unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
        let each = ["native", "native", "another", "another"];
        assert_eq!(names, [each, each].concat());
    }

    #[test]
    fn two_variants_of_one_name_are_refused() {
        let lower = tempfile::tempdir().unwrap();
        let error = plan(vec![Variant::native(), Variant::native()])
            .run(lower.path(), |_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("native"), "{error}");
    }
}
