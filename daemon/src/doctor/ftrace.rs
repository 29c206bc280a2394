//! tracefs and the options of the kernel that tracing needs.

use super::{Check, detached::Detached, kconfig::KernelConfig};
use crate::error::why;
use std::{fs, io, path::Path};

const AREA: &str = "tracing";
const MOUNTED: &str = "/sys/kernel/tracing";

/// An option of the kernel, and what it is good for.
struct KernelOption {
    name: &'static str,
    enables: &'static str,
}

/// What work on file systems traces with.
const OPTIONS: [KernelOption; 9] = [
    KernelOption {
        name: "FUNCTION_TRACER",
        enables: "the tracer 'function': every call of a kernel function (trace-cmd record -p function)",
    },
    KernelOption {
        name: "FUNCTION_GRAPH_TRACER",
        enables: "the tracer 'function_graph': time spent in each kernel function, nested",
    },
    KernelOption {
        name: "DYNAMIC_FTRACE",
        enables: "tracing of chosen functions at no cost for the others (set_ftrace_filter)",
    },
    KernelOption {
        name: "FTRACE_SYSCALLS",
        enables: "events at entry and exit of each system call (perf trace)",
    },
    KernelOption {
        name: "STACK_TRACER",
        enables: "the deepest kernel stack seen (stack_trace)",
    },
    KernelOption {
        name: "IRQSOFF_TRACER",
        enables: "the longest time with interrupts off (tracer 'irqsoff')",
    },
    KernelOption {
        name: "KPROBES",
        enables: "probes at any instruction of the kernel (perf probe, bpftrace kprobe:)",
    },
    KernelOption {
        name: "FPROBE",
        enables: "probes at entry and exit of many functions at once (bpftrace kprobe: with wildcards)",
    },
    KernelOption {
        name: "BPF_EVENTS",
        enables: "BPF programs on trace events: counting and timing of requests, transport shm",
    },
];

/// Looks at tracefs, and at how the kernel was configured.
pub fn examine(config: Option<&KernelConfig>) -> Vec<Check> {
    let mut checks = vec![mounted()];
    match Detached::of("tracefs") {
        Ok(tracefs) => checks.extend([tracers(&tracefs), events(&tracefs)]),
        Err(errno) => {
            let remedy = if errno == rustix::io::Errno::NODEV {
                "a kernel with CONFIG_FTRACE=y (docs/kernel.md)"
            } else {
                "ask as root: sudo shmfuse doctor"
            };
            let enables = "to know which tracers and events there are";
            checks.push(
                Check::no(
                    AREA,
                    "tracers and events",
                    why(&errno.into()),
                    enables,
                    remedy,
                )
                .unknown(),
            );
        }
    }
    checks.extend(OPTIONS.iter().map(|option| option.check(config)));
    checks
}

impl KernelOption {
    fn check(&self, config: Option<&KernelConfig>) -> Check {
        let name = format!("CONFIG_{}", self.name);
        let remedy = format!("a kernel with {name}=y (docs/kernel.md says how to build one)");
        match config {
            Some(config) if config.has(self.name) => Check::yes(
                AREA,
                name,
                config.get(self.name).unwrap_or("y"),
                self.enables,
            ),
            Some(config) => {
                let found = format!("not set in {}", config.source);
                Check::no(AREA, name, found, self.enables, remedy)
            }
            None => {
                let found = "neither /proc/config.gz nor /boot/config-* tells";
                Check::no(AREA, name, found, self.enables, remedy).unknown()
            }
        }
    }
}

fn mounted() -> Check {
    let (name, enables) = ("tracefs", "trace-cmd, perf trace and everything below");
    if Path::new(MOUNTED).join("trace").exists() {
        return Check::yes(AREA, name, format!("at {MOUNTED}"), enables);
    }
    match fs::read_dir(MOUNTED) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let remedy = "ask as root: sudo shmfuse doctor";
            Check::no(AREA, name, why(&error), enables, remedy).unknown()
        }
        _ => {
            let remedy = format!("as root: mount -t tracefs tracefs {MOUNTED}");
            Check::no(AREA, name, "not mounted", enables, remedy)
        }
    }
}

fn tracers(tracefs: &Detached) -> Check {
    let (name, enables) = ("tracers", "timing of the kernel's side of a request");
    let remedy = "a kernel with CONFIG_FUNCTION_GRAPH_TRACER=y (docs/kernel.md)";
    match tracefs.read("available_tracers") {
        Ok(text)
            if text
                .split_whitespace()
                .any(|tracer| tracer == "function_graph") =>
        {
            Check::yes(AREA, name, text.trim(), enables)
        }
        Ok(text) => {
            let found = format!("{}; not function_graph", text.trim());
            Check::no(AREA, name, found, enables, remedy)
        }
        Err(error) => Check::no(AREA, name, why(&error), enables, remedy),
    }
}

fn events(tracefs: &Detached) -> Check {
    let (name, enables) = (
        "events",
        "each request and each io_uring completion as an event",
    );
    let missing: Vec<_> = ["fuse", "io_uring", "syscalls", "sched"]
        .into_iter()
        .filter(|group| !tracefs.has_directory(&format!("events/{group}")))
        .collect();
    if missing.is_empty() {
        Check::yes(AREA, name, "fuse io_uring syscalls sched", enables)
    } else {
        let found = format!("not {}", missing.join(" "));
        let remedy = "Linux 6.12 or newer with CONFIG_FTRACE=y and CONFIG_FTRACE_SYSCALLS=y (docs/kernel.md)";
        Check::no(AREA, name, found, enables, remedy)
    }
}
