//! The machine a run was made on, and how noisy it was.

use serde::Serialize;
use std::{fs, process::Command};

/// What is recorded of the machine. Nothing in it names a user or a path.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Day of the run, `YYYY-MM-DD`.
    pub date: String,
    /// `uname -r`.
    pub kernel: String,
    /// Model of the first CPU.
    pub cpu: String,
    /// CPUs online.
    pub cpus: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The cpuidle governor, or "none".
    pub idle_governor: String,
    /// Mitigations in force, by name.
    pub mitigations: String,
    /// Load average of the last minute at the start.
    pub load: f64,
    /// Share of CPU time that the hypervisor gave to others since boot, 0 ..= 1.
    pub stolen: f64,
    /// Revision of the source tree, with `-dirty` if it had changes; empty outside a checkout.
    pub revision: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::new(),
    }
}

fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Host {
    /// Of this machine, now. What cannot be read is left empty.
    pub fn read() -> Self {
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0);
        let governor = read("/sys/devices/system/cpu/cpuidle/current_governor");
        Self {
            date: said("date", &["-u", "+%Y-%m-%d"]),
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib / 1024,
            idle_governor: if governor.is_empty() {
                "none".into()
            } else {
                governor
            },
            mitigations: mitigations(),
            load: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            stolen: stolen(&read("/proc/stat")).unwrap_or(0.0),
            revision: said("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
        }
    }

    /// Whether figures of this machine are to be read with care, and why.
    pub fn warning(&self) -> Option<String> {
        if self.load > 0.5 {
            return Some(format!("other work is running (load {:.1})", self.load));
        }
        (self.stolen > 0.01).then(|| {
            format!(
                "the hypervisor takes {:.0} % of the CPUs",
                self.stolen * 100.0
            )
        })
    }

    /// Name and value of each, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("date", self.date.clone()),
            ("kernel", self.kernel.clone()),
            ("CPU", format!("{} x {}", self.cpus, self.cpu)),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("idle governor", self.idle_governor.clone()),
            ("mitigations", self.mitigations.clone()),
            ("load at the start", format!("{:.2}", self.load)),
            ("stolen since boot", format!("{:.1} %", self.stolen * 100.0)),
            ("revision", self.revision.clone()),
        ];
        lines.extend(self.warning().map(|warning| ("noisy", warning)));
        lines
    }
}

fn mitigations() -> String {
    let Ok(folder) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return String::new();
    };
    let mut names: Vec<String> = folder
        .flatten()
        .filter(|entry| read(&entry.path().display().to_string()).starts_with("Mitigation"))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.join(" ")
}

/// From the first line of /proc/stat: user nice system idle iowait irq softirq steal (proc(5)).
fn stolen(stat: &str) -> Option<f64> {
    let ticks: Vec<f64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|tick| tick.parse().ok())
        .collect::<Option<_>>()?;
    let total: f64 = ticks.iter().sum();
    Some(ticks.get(7)? / total.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_eighth_field() {
        assert_eq!(stolen("cpu 10 0 10 70 0 0 0 10 0 0\ncpu0 1 2"), Some(0.1));
        assert_eq!(stolen(""), None);
    }

    #[test]
    fn a_busy_machine_is_warned_of() {
        let host = Host {
            load: 3.0,
            stolen: 0.0,
            ..Host::read()
        };
        assert!(host.warning().unwrap().contains("3.0"));
        let host = Host {
            load: 0.0,
            stolen: 0.0,
            ..host
        };
        assert_eq!(host.warning(), None);
    }
}
