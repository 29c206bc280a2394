//! Counting, in repetitions that are not timed: requests of a mount, and system calls of its daemon.
//!
//! The events `fuse_request_send` (fs/fuse/fuse_trace.h) and `sys_enter` are switched on in trace
//! instances of our own (Documentation/trace/ftrace.rst of the kernel, "Instances"), and what their
//! buffers took and overwrote is summed up: no program is loaded, nothing is read but two numbers a
//! CPU. Root only; elsewhere nothing is counted, and the tables say so.

use crate::mounted::Mounted;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// What one repetition on a mount took, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Operations of the application.
    pub operations: u64,
    /// Requests that the kernel made of them; `None` where they could not be counted.
    pub requests: Option<u64>,
    /// System calls of the daemon: each enters the kernel once and leaves it once.
    pub daemon_calls: Option<u64>,
    /// Requests that kernel programs answered, of mounts that can say so.
    pub answered: Option<u64>,
}

impl Counts {
    /// What came since `earlier`; operations are the caller's to know.
    fn since(self, earlier: Self) -> Self {
        let since = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
        Self {
            operations: 0,
            requests: since(self.requests, earlier.requests),
            daemon_calls: since(self.daemon_calls, earlier.daemon_calls),
            answered: since(self.answered, earlier.answered),
        }
    }
}

/// What counts on a mount as long as it is there: to begin and to end takes a tenth of a second,
/// in which the kernel waits for all CPUs.
#[derive(Debug)]
pub struct Counter {
    requests: Option<Instance>,
    calls: Option<Instance>,
}

impl Counter {
    /// Begins to count what `mounted` does; counts what it can.
    pub fn on(mounted: &Mounted) -> Self {
        let requests = mounted.device().and_then(|device| {
            // FUSE knows a mount by its device number (`fc->dev`), whose major is 0.
            let filter = format!("connection == {}", rustix::fs::minor(device));
            Instance::start("requests", "fuse/fuse_request_send", Some(&filter), &[]).ok()
        });
        let calls = mounted.daemon().and_then(|pid| {
            let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).ok()?;
            let threads: Vec<String> = tasks
                .filter_map(|task| task.ok()?.file_name().into_string().ok())
                .collect();
            Instance::start("calls", "raw_syscalls/sys_enter", None, &threads).ok()
        });
        Self { requests, calls }
    }

    /// Counts what `work` makes of `mounted`, which this counter is on.
    pub fn count<T>(
        &self,
        mounted: &Mounted,
        shmfuse: &Path,
        work: impl FnOnce() -> T,
    ) -> (T, Counts) {
        let so_far = || Counts {
            operations: 0,
            requests: self.requests.as_ref().and_then(|it| it.count().ok()),
            daemon_calls: self.calls.as_ref().and_then(|it| it.count().ok()),
            answered: answered(mounted, shmfuse),
        };
        let before = so_far();
        let result = work();
        (result, so_far().since(before))
    }
}

/// Requests that the mount's kernel programs have answered so far, by `shmfuse stat --json`.
fn answered(mounted: &Mounted, shmfuse: &Path) -> Option<u64> {
    let output = Command::new(shmfuse)
        .args(["stat", "--json"])
        .arg(mounted.mountpoint()?)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let totals = json.get("totals").or_else(|| json.get(0)?.get("totals"))?;
    totals.get("answered")?.as_u64()
}

/// A trace instance with one event on; removed when dropped.
#[derive(Debug)]
struct Instance {
    folder: PathBuf,
    event: &'static str,
}

impl Instance {
    /// `threads`: only what these (and their children) do; all if it is empty.
    fn start(
        name: &str,
        event: &'static str,
        filter: Option<&str>,
        threads: &[String],
    ) -> Result<Self> {
        let name = format!("shmfuse-bench-{}-{name}", std::process::id());
        let folder = Path::new(INSTANCES).join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let instance = Self { folder, event };
        if let Some(filter) = filter {
            instance.write(&format!("events/{event}/filter"), filter)?;
        }
        if !threads.is_empty() {
            instance.write("options/event-fork", "1")?;
            instance.write("set_event_pid", &threads.join(" "))?;
        }
        instance.write(&format!("events/{event}/enable"), "1")?;
        Ok(instance)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Events so far: those in the buffers and those overwritten.
    fn count(&self) -> Result<u64> {
        let mut sum = 0;
        for cpu in fs::read_dir(self.folder.join("per_cpu"))? {
            sum += events_in(&fs::read_to_string(cpu?.path().join("stats"))?);
        }
        Ok(sum)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // An event that is on keeps the instance busy.
        let _ = self.write(&format!("events/{}/enable", self.event), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

/// From a `stats` file: what is in the buffer, what was overwritten, what found no room.
fn events_in(stats: &str) -> u64 {
    stats
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| ["entries", "overrun", "dropped events"].contains(name))
        .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_overwritten_counts() {
        let stats = "entries: 11\noverrun: 5\ncommit overrun: 7\nbytes: 748\ndropped events: 1\n";
        assert_eq!(events_in(stats), 17);
    }

    #[test]
    fn on_native_there_is_nothing_to_count() {
        let dir = tempfile::tempdir().unwrap();
        let native = Mounted::native(dir.path());
        let (done, counts) = Counter::on(&native).count(&native, Path::new("/bin/false"), || 7);
        assert_eq!((done, counts), (7, Counts::default()));
    }
}
