//! Data by fio, the field's standard tool, read through its JSON.

use super::{Access, Direction, Measure, Place, Workload};
use crate::{peers::is_there, recorder::Recorder};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// The file in the lower directory that jobs read, one for all variants.
const FILE: &str = "bench-fio";

/// One fio job, as its options say.
#[derive(Clone, Debug)]
pub struct Fio {
    /// `--rw`: read, write, randread or randwrite.
    pub rw: &'static str,
    /// `--bs` in bytes.
    pub block_bytes: u32,
    /// `--size` in bytes.
    pub file_bytes: u64,
    /// `--direct`: past the page cache.
    pub direct: bool,
    /// `--iodepth`; above 1 the engine is libaio.
    pub depth: u32,
    /// `--numjobs`.
    pub jobs: u32,
    /// `--ioengine=mmap`.
    pub mmap: bool,
}

/// How long fio takes to start and end, which its own figures leave out.
const STARTING: Duration = Duration::from_millis(260);

/// What `--output-format=json+` prints, as far as it is used.
#[derive(Deserialize)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i32,
    /// Milliseconds.
    job_runtime: f64,
    /// Percent of it.
    usr_cpu: f64,
    sys_cpu: f64,
    read: Way,
    write: Way,
}

#[derive(Deserialize)]
struct Way {
    io_bytes: u64,
    total_ios: u64,
    /// Milliseconds.
    runtime: u64,
    bw_bytes: u64,
    clat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    /// Latency in nanoseconds: how many.
    #[serde(default)]
    bins: BTreeMap<u64, u64>,
}

impl Fio {
    fn reads(&self) -> bool {
        self.rw.ends_with("read")
    }

    fn arguments(&self, place: &Place<'_>, budget: Duration) -> Vec<String> {
        let (directory, file) = if self.reads() {
            (place.root, FILE)
        } else {
            (place.scratch, "fio")
        };
        let engine = match (self.mmap, self.depth) {
            (true, _) => "mmap",
            (false, 1) => "psync",
            (false, _) => "libaio",
        };
        vec![
            "--name=job".into(),
            format!("--filename={}", directory.join(file).display()),
            format!("--rw={}", self.rw),
            format!("--bs={}", self.block_bytes),
            format!("--size={}", self.file_bytes),
            // The file once, or as much of it as there is time for.
            format!("--runtime={}ms", budget.as_millis().clamp(1, 60_000)),
            format!("--direct={}", u8::from(self.direct)),
            format!("--iodepth={}", self.depth),
            format!("--numjobs={}", self.jobs),
            format!("--ioengine={engine}"),
            // On native, fio's own invalidation would empty the page cache below all variants.
            format!("--invalidate={}", u8::from(!place.native)),
            "--group_reporting".into(),
            // Both spare time: measuring the CPU's clock, and processes.
            "--clocksource=clock_gettime".into(),
            "--thread".into(),
            "--randseed=1".into(),
            "--output-format=json+".into(),
        ]
    }

    /// Takes fio's figures over: operations, bytes, run time and every latency.
    fn take(&self, text: &str, recorder: &mut Recorder) -> Result<()> {
        let output: Output = serde_json::from_str(text).context("fio's JSON")?;
        let job = output.jobs.first().context("fio reported no job")?;
        ensure!(job.error == 0, "fio: error {} in a job", job.error);
        let way = if self.reads() { &job.read } else { &job.write };
        ensure!(way.total_ios > 0, "fio did nothing");
        for (&ns, &count) in &way.clat_ns.bins {
            recorder.record_many(Duration::from_nanos(ns), count);
        }
        recorder.moved(way.io_bytes);
        // `runtime` is in milliseconds, too coarse for a quick job: the bandwidth has more digits.
        let seconds = if way.bw_bytes > 0 {
            way.io_bytes as f64 / way.bw_bytes as f64
        } else {
            way.runtime as f64 / 1e3
        };
        recorder.took(Duration::from_secs_f64(seconds));
        // Without what it takes to start fio.
        let cpu = (job.usr_cpu + job.sys_cpu) / 100.0 * job.job_runtime / 1e3;
        recorder.app_used(Duration::from_secs_f64(cpu.max(0.0)));
        Ok(())
    }
}

impl Workload for Fio {
    fn name(&self) -> String {
        let mut name = format!(
            "fio {} {}",
            self.rw,
            super::size_name(self.block_bytes as usize)
        );
        if self.mmap {
            name.push_str(" mmap");
        }
        if self.direct {
            name.push_str(" direct");
        }
        if self.depth > 1 {
            name.push_str(&format!(" QD{}", self.depth));
        }
        if self.jobs > 1 {
            name.push_str(&format!(" x{}", self.jobs));
        }
        name
    }

    fn measure(&self) -> Measure {
        Measure::Bytes
    }

    fn missing(&self) -> Option<&'static str> {
        (!is_there("fio")).then_some("fio")
    }

    fn access(&self) -> Option<Access> {
        Some(Access {
            direction: if self.reads() {
                Direction::Read
            } else {
                Direction::Write
            },
            direct: self.direct,
            mmap: self.mmap,
        })
    }

    fn overhead(&self) -> Duration {
        STARTING
    }

    fn warmed_by(&self) -> Option<String> {
        Some(format!(
            "fio: {}",
            if self.reads() { "read" } else { "write" }
        ))
    }

    /// Large blocks in order, so that every buffer on the way has been touched.
    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let largest = Self {
            rw: if self.reads() { "read" } else { "write" },
            block_bytes: 1 << 20,
            file_bytes: self.file_bytes,
            direct: false,
            depth: 1,
            jobs: 1,
            mmap: false,
        };
        largest.run(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        if self.reads() {
            super::files::prepare_file(&lower.join(FILE), self.file_bytes)?;
        }
        Ok(())
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        if self.reads() {
            super::files::settle_pages(&lower.join(FILE))?;
        }
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let output = Command::new("fio")
            .args(self.arguments(place, recorder.left()))
            .stdin(Stdio::null())
            .output()
            .context("cannot run fio (cargo xtask setup installs it)")?;
        ensure!(
            output.status.success(),
            "fio: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        // fio prints its notes on the same stream, before the JSON.
        let text = String::from_utf8_lossy(&output.stdout);
        let json = text.find('{').map_or("", |start| &text[start..]);
        self.take(json, recorder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Fio = Fio {
        rw: "read",
        block_bytes: 4096,
        file_bytes: 1 << 20,
        direct: false,
        depth: 1,
        jobs: 1,
        mmap: false,
    };

    #[test]
    fn figures_are_fio_s_own() {
        let text = r#"{"jobs":[{"error":0,"job_runtime":10,"usr_cpu":10.0,"sys_cpu":40.0,
            "read":{"io_bytes":8192,"total_ios":2,"runtime":1,"bw_bytes":8192000,
                    "clat_ns":{"bins":{"1000":1,"3000":1}}},
            "write":{"io_bytes":0,"total_ios":0,"runtime":0,"bw_bytes":0,"clat_ns":{}}}]}"#;
        let mut recorder = Recorder::default();
        JOB.take(text, &mut recorder).unwrap();
        assert_eq!(
            recorder.app_cpu(Duration::from_secs(9)),
            Duration::from_millis(5)
        );
        let figures = recorder.finish(Duration::from_secs(99));
        assert_eq!((figures.operations, figures.bytes), (2, 8192));
        assert_eq!(figures.wall_ns, 1_000_000);
        assert!((2990..3010).contains(&figures.max_ns), "{}", figures.max_ns);
    }

    #[test]
    fn a_job_with_an_error_is_no_figure() {
        let text = r#"{"jobs":[{"error":5,"job_runtime":1,"usr_cpu":0,"sys_cpu":0,
            "read":{"io_bytes":1,"total_ios":1,"runtime":1,"bw_bytes":1,"clat_ns":{}},
            "write":{"io_bytes":0,"total_ios":0,"runtime":0,"bw_bytes":0,"clat_ns":{}}}]}"#;
        let error = JOB
            .take(text, &mut Recorder::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("error 5"), "{error}");
    }

    #[test]
    fn names_say_what_differs() {
        let job = Fio {
            rw: "randwrite",
            direct: true,
            depth: 32,
            jobs: 4,
            ..JOB
        };
        assert_eq!(job.name(), "fio randwrite 4K direct QD32 x4");
    }
}
