//! Program types, BTF, lockdown.

use super::{
    Check,
    detached::Detached,
    trial::{self, ACQUIRE_AND_RELEASE, Kind, RETURN_0},
};
use crate::{
    bpf::btf::{Btf, KERNEL},
    error::why,
};
use rustix::thread::{CapabilitySet, capabilities};
use std::{ffi::CStr, fs, io, path::Path};

const AREA: &str = "BPF";
/// The tracepoint on which programs are tried: it is always there when FUSE is, and the programs
/// of the daemon use it.
const TRACEPOINT: &CStr = c"fuse_request_end";
/// What functions and methods are tried on.
const FUNCTION: &str = "fuse_request_end";

/// Program types (`enum bpf_prog_type`).
const PROG_TRACEPOINT: u32 = 5;
const PROG_RAW_TRACEPOINT: u32 = 17;
const PROG_TRACING: u32 = 26;
const PROG_LSM: u32 = 29;
/// Attach types (`enum bpf_attach_type`).
const TRACE_RAW_TP: u32 = 23;
const TRACE_FENTRY: u32 = 24;
const LSM_MAC: u32 = 27;

/// The tracepoints that the daemon's programs attach to, as BTF knows them.
const TRACEPOINTS: [&str; 4] = [
    "fuse_request_send",
    "fuse_request_end",
    "io_uring_complete",
    "io_uring_submit_req",
];

/// Looks at BTF, and tries programs.
pub fn examine() -> Vec<Check> {
    let btf = Btf::of_running_kernel().ok();
    let id = |name: &str| btf.as_ref()?.id_of(name);
    let shm = "transport shm: rings in memory that kernel programs share";
    let privileged = capabilities(None).is_ok_and(|sets| {
        let needed = CapabilitySet::BPF | CapabilitySet::PERFMON;
        sets.effective.contains(needed) || sets.effective.contains(CapabilitySet::SYS_ADMIN)
    });
    let remedy = |of_kernel: &'static str| {
        if privileged {
            of_kernel
        } else {
            "as root (CAP_BPF and CAP_PERFMON)"
        }
    };
    let root = remedy("a kernel with CONFIG_BPF_SYSCALL=y (docs/kernel.md)");
    vec![
        compiler(),
        types(btf.is_some()),
        Check::tried(
            AREA,
            "mappable array",
            trial::mappable_array()
                .map(|()| "")
                .map_err(|error| why(&error)),
            shm,
            root,
        ),
        Check::tried(
            AREA,
            "tp_btf program",
            targeted(PROG_TRACING, TRACE_RAW_TP, id("btf_trace_fuse_request_end")),
            "counting and timing of requests; transport shm",
            root,
        ),
        Check::tried(
            AREA,
            "load-acquire, store-release",
            loaded(plain(PROG_RAW_TRACEPOINT), ACQUIRE_AND_RELEASE).map(|_| "verified"),
            shm,
            remedy("Linux 6.15 or newer with CONFIG_BPF_JIT=y (docs/kernel.md)"),
        ),
        tracepoints(&id),
        Check::tried(
            AREA,
            "raw_tp program",
            both(plain(PROG_RAW_TRACEPOINT), Some(TRACEPOINT)),
            "tracing without BTF",
            root,
        ),
        Check::tried(
            AREA,
            "tracepoint program",
            loaded(plain(PROG_TRACEPOINT), RETURN_0).map(|_| "loads"),
            "tracing without BTF",
            root,
        ),
        Check::tried(
            AREA,
            "fentry program",
            targeted(PROG_TRACING, TRACE_FENTRY, id(FUNCTION)),
            "timing of kernel functions; nothing that shmfuse needs",
            remedy(
                "a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y that lets BPF trampolines be attached (docs/kernel.md)",
            ),
        ),
        Check::tried(
            AREA,
            "lsm program",
            targeted(PROG_LSM, LSM_MAC, id("bpf_lsm_file_open")),
            "filters on file operations before FUSE; nothing that shmfuse needs",
            remedy(
                "a kernel with CONFIG_BPF_LSM=y, and bpf in its lsm= parameter (docs/kernel.md)",
            ),
        ),
        kprobe(),
        lockdown(),
    ]
}

/// The JIT: without it there are no acquire loads, and every program is slow.
fn compiler() -> Check {
    let (name, enables) = ("JIT", "programs at full speed; transport shm");
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(text) if text.trim() != "0" => Check::yes(AREA, name, "", enables),
        Ok(_) => Check::no(
            AREA,
            name,
            "switched off",
            enables,
            "as root: sysctl net.core.bpf_jit_enable=1",
        ),
        Err(error) => Check::no(
            AREA,
            name,
            why(&error),
            enables,
            "a kernel with CONFIG_BPF_JIT=y (docs/kernel.md)",
        ),
    }
}

fn types(found: bool) -> Check {
    let (name, enables) = ("BTF of the kernel", "tp_btf programs; transport shm");
    if found {
        return Check::yes(AREA, name, KERNEL, enables);
    }
    let why = if Path::new(KERNEL).exists() {
        format!("{KERNEL} cannot be read")
    } else {
        format!("no {KERNEL}")
    };
    let remedy = "a kernel with CONFIG_DEBUG_INFO_BTF=y (docs/kernel.md)";
    Check::no(AREA, name, why, enables, remedy)
}

/// Loads and attaches a program whose kind names its target by BTF.
fn targeted(program: u32, attach: u32, target: Option<u32>) -> Result<&'static str, String> {
    let target = target.ok_or("its target is not in the kernel's BTF")?;
    both(
        Kind {
            program,
            attach,
            target,
        },
        None,
    )
}

/// Loads and attaches a program; says which of the two fails.
fn both(kind: Kind, tracepoint: Option<&CStr>) -> Result<&'static str, String> {
    let program = loaded(kind, RETURN_0)?;
    trial::attach(&program, tracepoint)
        .map_err(|error| format!("loads, cannot be attached: {}", why(&error)))?;
    Ok("loads and attaches")
}

fn loaded(kind: Kind, code: &[trial::Instruction]) -> Result<trial::Program, String> {
    trial::load(kind, code).map_err(|error| format!("cannot be loaded: {}", why(&error)))
}

/// A kind without a target of its own.
fn plain(program: u32) -> Kind {
    Kind {
        program,
        attach: 0,
        target: 0,
    }
}

/// Whether the kernel has every tracepoint that the daemon's programs attach to.
fn tracepoints(id: &impl Fn(&str) -> Option<u32>) -> Check {
    let (name, enables) = ("tracepoints", "counting of requests; transport shm");
    let missing: Vec<_> = TRACEPOINTS
        .into_iter()
        .filter(|name| id(&format!("btf_trace_{name}")).is_none())
        .collect();
    if missing.is_empty() {
        return Check::yes(AREA, name, TRACEPOINTS.join(" "), enables);
    }
    let remedy = "Linux 6.12 or newer with CONFIG_FUSE_FS, CONFIG_IO_URING and CONFIG_DEBUG_INFO_BTF built in (docs/kernel.md)";
    let found = format!("not {}", missing.join(" "));
    Check::no(AREA, name, found, enables, remedy)
}

/// Programs on kprobes load without them; what they are attached to is a perf event.
fn kprobe() -> Check {
    let name = "kprobe program";
    let enables = "tracing of any kernel function; nothing that shmfuse needs";
    if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        Check::yes(AREA, name, "", enables)
    } else {
        let remedy = "a kernel with CONFIG_KPROBES=y and CONFIG_KPROBE_EVENTS=y (docs/kernel.md)";
        Check::no(AREA, name, "no kprobes in this kernel", enables, remedy)
    }
}

/// kernel_lockdown(7).
fn lockdown() -> Check {
    let name = "lockdown";
    let enables = "bpf_probe_read_kernel, which lockdown=confidentiality forbids; integrity, or none, does not matter to shmfuse";
    let text = fs::read_to_string("/sys/kernel/security/lockdown").or_else(|_| {
        Detached::of("securityfs")
            .map_err(io::Error::from)
            .and_then(|security| security.read("lockdown"))
    });
    match text {
        // The mode in force stands in brackets.
        Ok(text) if text.contains("[confidentiality]") => Check::no(
            AREA,
            name,
            "confidentiality",
            enables,
            "boot with lockdown=integrity, or none",
        ),
        Ok(text) => {
            let mode = text.split(['[', ']']).nth(1).unwrap_or("none").to_owned();
            Check::yes(AREA, name, mode, enables)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::yes(AREA, name, "not in this kernel", enables)
        }
        Err(error) => {
            let remedy = "ask as root: sudo shmfuse doctor";
            Check::no(AREA, name, why(&error), enables, remedy).unknown()
        }
    }
}
