//! The machine a run was made on, and how noisy it was.

use crate::cpu::{Machine, Usage};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path, process::Command};

/// What is recorded of the machine. Nothing in it names a user or a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The machine's name.
    pub name: String,
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
    /// Version of the `shmfuse` that was measured.
    pub shmfuse: String,
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
    /// Of this machine, now, and of the binary `shmfuse`. What cannot be read is left empty.
    pub fn read(shmfuse: &Path) -> Self {
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
            name: read("/proc/sys/kernel/hostname"),
            shmfuse: said(&shmfuse.display().to_string(), &["--version"]),
            revision: revision(),
        }
    }

    /// Whether another run was made on this machine: what differs, if not.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        let pairs = [
            ("machine", &self.name, &other.name),
            ("CPU", &self.cpu, &other.cpu),
            ("mitigations", &self.mitigations, &other.mitigations),
            ("idle governor", &self.idle_governor, &other.idle_governor),
        ];
        for (what, mine, theirs) in pairs {
            if mine != theirs {
                return Some(format!("{what}: {mine:?} and {theirs:?}"));
            }
        }
        (self.cpus != other.cpus || self.memory_mib != other.memory_mib).then(|| {
            format!(
                "{} CPUs with {} MiB and {} CPUs with {} MiB",
                self.cpus, self.memory_mib, other.cpus, other.memory_mib
            )
        })
    }

    /// Name and value of each, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            ("machine", self.name.clone()),
            ("date", self.date.clone()),
            ("kernel", self.kernel.clone()),
            ("CPU", format!("{} x {}", self.cpus, self.cpu)),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("idle governor", self.idle_governor.clone()),
            ("mitigations", self.mitigations.clone()),
            ("shmfuse", self.shmfuse.clone()),
            ("revision", self.revision.clone()),
        ]
    }
}

/// How quiet the machine was during a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Load average of the last minute at the start.
    pub load: f64,
    /// Part of the CPUs' time that the hypervisor gave to others during the run, 0 ..= 1.
    pub stolen: f64,
    /// Part of the CPUs' time that other programs took during the run, 0 ..= 1.
    pub others: f64,
    /// Mounts of shmfuse that were there at the start: their kernel programs may look at every
    /// system call of the machine, native ones included.
    #[serde(default)]
    pub other_mounts: usize,
}

impl Noise {
    /// Whether figures are to be read with care, and why.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        if self.load > 0.5 {
            warnings.push(format!("the load was {:.1} at the start", self.load));
        }
        if self.others > 0.05 {
            let others = percent(self.others);
            warnings.push(format!("other programs took {others} of the CPUs' time"));
        }
        if self.other_mounts > 0 {
            let mounts = self.other_mounts;
            warnings.push(format!(
                "{mounts} other mounts of shmfuse were there: their kernel programs slow everything"
            ));
        }
        if self.stolen > 0.01 {
            let stolen = percent(self.stolen);
            warnings.push(format!("the hypervisor took {stolen} of the CPUs' time"));
        }
        warnings
    }

    /// Name and value of each, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        vec![
            ("load at the start", format!("{:.2}", self.load)),
            ("CPU time of other programs", percent(self.others)),
            ("CPU time stolen", percent(self.stolen)),
        ]
    }
}

/// Listens for noise from its making to [`stop`](Self::stop).
#[derive(Debug)]
pub struct Listener {
    load: f64,
    other_mounts: usize,
    machine: Machine,
    ours: Usage,
}

impl Listener {
    /// Starts.
    pub fn start() -> Self {
        Self {
            load: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            other_mounts: mounts_of_shmfuse(&read("/proc/self/mountinfo")),
            machine: Machine::now(),
            ours: Usage::of_application().unwrap_or_default(),
        }
    }

    /// Ends. All children must have been waited for: daemons are children.
    pub fn stop(self) -> Noise {
        let machine = Machine::now();
        let ours = Usage::of_application().unwrap_or_default() - self.ours;
        let total = (machine.total_s - self.machine.total_s).max(0.01);
        let busy = machine.busy_s - self.machine.busy_s;
        Noise {
            load: self.load,
            other_mounts: self.other_mounts,
            stolen: (machine.stolen_s - self.machine.stolen_s) / total,
            others: ((busy - ours.cpu.as_secs_f64()) / total).max(0.0),
        }
    }
}

/// How many lines of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) are mounts of ours.
fn mounts_of_shmfuse(mountinfo: &str) -> usize {
    let ours = |line: &&str| line.contains(" - fuse.shmfuse ");
    mountinfo.lines().filter(ours).count()
}

/// Of the source tree, if that is where we are: another tree's revision would say nothing.
fn revision() -> String {
    if !Path::new("bench/src/host.rs").is_file() {
        return String::new();
    }
    said("git", &["describe", "--always", "--dirty", "--abbrev=12"])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_warned_of() {
        let noise = Noise {
            load: 3.0,
            others: 0.2,
            stolen: 0.0,
            other_mounts: 1,
        };
        let warnings = noise.warnings().join("; ");
        assert!(
            warnings.contains("3.0") && warnings.contains("20 %"),
            "{warnings}"
        );
        assert!(Noise::default().warnings().is_empty());
    }

    #[test]
    fn another_machine_is_told_by_what_differs() {
        let host = Host::read(Path::new("/bin/false"));
        assert_eq!(host.differs_from(&host), None);
        let other = Host {
            cpus: host.cpus + 1,
            ..host.clone()
        };
        assert!(host.differs_from(&other).unwrap().contains("CPUs"));
    }

    #[test]
    fn only_mounts_of_shmfuse_are_counted() {
        let text = "29 1 0:26 / /a rw - fuse.shmfuse shmfuse rw\n30 1 0:27 / /b rw - ext4 x rw\n";
        assert_eq!(mounts_of_shmfuse(text), 1);
    }

    #[test]
    fn what_we_do_ourselves_is_no_noise() {
        let noise = Listener::start().stop();
        assert!((0.0..=1.0).contains(&noise.others), "{noise:?}");
    }
}
