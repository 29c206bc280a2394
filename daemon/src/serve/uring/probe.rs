//! What the uring transport needs of the machine: a kind of io_uring, and the number of CPUs.

use crate::error::{Error, Result};
use io_uring::{Builder, IoUring, cqueue, squeue::Entry128};
use std::{fs, io};

/// 0: everybody; 1: a group and CAP_SYS_ADMIN; 2: nobody (Documentation/admin-guide/sysctl/kernel.rst).
const IO_URING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
/// The CPUs that there may ever be, as a list of ranges.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";
/// Those of them that run.
const ONLINE_CPUS: &str = "/sys/devices/system/cpu/online";

/// A ring as the workers have it: one thread submits, and task work, which copies requests into
/// entries, runs only when that thread asks for completions.
pub(super) fn ring_builder() -> Builder<Entry128, cqueue::Entry> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_no_sqarray()
        .dontfork();
    builder
}

/// Makes a ring as the workers have it, and drops it.
///
/// # Errors
///
/// What io_uring_setup(2) says, with the remedy.
pub fn ring() -> Result<()> {
    ring_builder().build(8).map(drop).map_err(setup_error)
}

/// How many CPUs the machine can have: the kernel has that many queues per connection
/// (`num_possible_cpus`, fs/fuse/dev_uring.c) and uses none before all have an entry.
///
/// # Errors
///
/// If sysfs is not mounted or says something unheard of.
pub fn possible_cpus() -> Result<u16> {
    cpus_in(POSSIBLE_CPUS)
}

/// How many CPUs run at the moment.
///
/// # Errors
///
/// As [`possible_cpus`].
pub fn online_cpus() -> Result<u16> {
    cpus_in(ONLINE_CPUS)
}

fn cpus_in(path: &str) -> Result<u16> {
    let list =
        fs::read_to_string(path).map_err(|source| Error::path("cannot read", path, source))?;
    count_cpus(&list).ok_or_else(|| Error::Unsupported {
        what: format!("{path} is no list of CPUs: {list:?}"),
        remedy: String::new(),
    })
}

/// Why io_uring_setup(2) failed, with the remedy.
pub(in crate::serve) fn setup_error(source: io::Error) -> Error {
    let remedy = match source.raw_os_error() {
        Some(libc::ENOSYS) => {
            "a kernel with CONFIG_IO_URING=y, and no seccomp filter against it".into()
        }
        Some(libc::EPERM) => match fs::read_to_string(IO_URING_DISABLED)
            .as_deref()
            .map(str::trim)
        {
            Ok("2") => "as root: sysctl kernel.io_uring_disabled=0".into(),
            Ok("1") => "as root: sysctl kernel.io_uring_disabled=0, or join the group of \
                        kernel.io_uring_group"
                .into(),
            _ => "a seccomp filter or a security module forbids it".into(),
        },
        Some(libc::EINVAL) => "Linux 6.14 or newer".into(),
        Some(libc::ENOMEM) => "raise the limit of locked memory: ulimit -l".into(),
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files: ulimit -n".into(),
        _ => String::new(),
    };
    Error::system("cannot create an io_uring", source).with_remedy(remedy)
}

/// The number of CPUs in a list such as `0-3,8-11`.
fn count_cpus(list: &str) -> Option<u16> {
    list.trim().split(',').try_fold(0u16, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count_cpus("0-1\n"), Some(2));
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus("0-3,8-11"), Some(8));
        for wrong in ["", "x", "3-1", "0-65535", "1,,2"] {
            assert_eq!(count_cpus(wrong), None, "{wrong:?}");
        }
    }
}
