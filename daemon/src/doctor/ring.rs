//! io_uring, and FUSE over it.

use super::Check;
use crate::{
    error::why,
    select::ENABLE_URING,
    serve::{shm, uring::probe},
};
use io_uring::{Builder, IoUring, cqueue, squeue};
use std::{fs, os::fd::AsRawFd as _};

const AREA: &str = "io_uring";

/// Tries to make rings.
pub fn examine() -> Vec<Check> {
    let uring = "transport uring: requests without a system call each";
    let allow = "as root: sysctl kernel.io_uring_disabled=0, or a kernel with CONFIG_IO_URING";
    let newer = "a newer kernel (docs/kernel.md)";
    vec![
        Check::tried(
            AREA,
            "rings for this user",
            made(|ring| ring).map(|_| disabled()),
            uring,
            allow,
        ),
        Check::tried(
            AREA,
            "SINGLE_ISSUER, DEFER_TASKRUN",
            made(|ring| ring.setup_single_issuer().setup_defer_taskrun()),
            "transports uring and shm: completions run in the serving thread (Linux 6.1)",
            newer,
        ),
        Check::tried(
            AREA,
            "SQPOLL, SQ_AFF, ATTACH_WQ",
            attached(),
            "engine kernel of transport shm: a poll thread per CPU",
            newer,
        ),
        Check::tried(
            AREA,
            "NO_SQARRAY",
            made(|ring| ring.setup_no_sqarray()),
            "transports uring and shm (Linux 6.6)",
            newer,
        ),
        switch(),
        memory(),
    ]
}

/// `kernel.io_uring_disabled` (Documentation/admin-guide/sysctl/kernel.rst).
fn disabled() -> String {
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
        Ok(text) => format!("kernel.io_uring_disabled={}", text.trim()),
        Err(_) => String::new(),
    }
}

fn made(
    setup: impl FnOnce(
        &mut Builder<squeue::Entry128, cqueue::Entry>,
    ) -> &mut Builder<squeue::Entry128, cqueue::Entry>,
) -> Result<String, String> {
    let mut builder = IoUring::<squeue::Entry128, cqueue::Entry>::builder();
    setup(&mut builder)
        .build(1)
        .map(|_ring| String::new())
        .map_err(|error| why(&error))
}

/// Two rings with one poll thread between them.
fn attached() -> Result<String, String> {
    let mut builder = IoUring::<squeue::Entry128, cqueue::Entry>::builder();
    let first = builder
        .setup_sqpoll(1)
        .setup_sqpoll_cpu(0)
        .build(1)
        .map_err(|error| why(&error))?;
    let mut builder = IoUring::<squeue::Entry128, cqueue::Entry>::builder();
    builder
        .setup_sqpoll(1)
        .setup_sqpoll_cpu(0)
        .setup_attach_wq(first.as_raw_fd())
        .build(1)
        .map(|_ring| String::new())
        .map_err(|error| why(&error))
}

/// What the rings of a mount take if nobody says otherwise.
fn memory() -> Check {
    let plan = probe::possible_cpus()
        .and_then(|queues| shm::sizing::plan_by_default(queues.into()))
        .map(|plan| plan.to_string())
        .map_err(|error| error.to_string());
    Check::tried(
        AREA,
        "memory",
        plan,
        "transport shm with default options (--queue-depth, --max-write, --head-len, --memory-max)",
        "less --queue-depth or --max-write, or another --memory-max",
    )
}

/// The switch of FUSE over io_uring.
fn switch() -> Check {
    let name = "FUSE over io_uring";
    let enables = "transports uring and shm";
    match fs::read_to_string(ENABLE_URING) {
        Ok(text) if text.starts_with(['Y', '1']) => Check::yes(AREA, name, "switched on", enables),
        Ok(_) => Check::no(
            AREA,
            name,
            "there, but switched off",
            enables,
            format!(
                "as root: echo Y > {ENABLE_URING} (a mount by root does it by itself); for good: fuse.enable_uring=1 on the kernel's command line"
            ),
        ),
        Err(_) => Check::no(
            AREA,
            name,
            "not in this kernel",
            enables,
            "Linux 6.14 or newer with CONFIG_FUSE_IO_URING=y (docs/kernel.md), and 'modprobe fuse'",
        ),
    }
}
