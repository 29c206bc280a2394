//! Whether this kernel and this user can have FUSE-over-io_uring, and turning it on.

use crate::error::{Error, Result};
use io_uring::{IoUring, cqueue, squeue::Entry128};
use std::{fs, io, path::Path};

/// The switch of fs/fuse/dev_uring.c; absent without `CONFIG_FUSE_IO_URING`.
const ENABLE_URING: &str = "/sys/module/fuse/parameters/enable_uring";
/// 0: everybody; 1: a group and CAP_SYS_ADMIN; 2: nobody (Documentation/admin-guide/sysctl/kernel.rst).
const IO_URING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
/// The CPUs that there may ever be, as a list of ranges.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// Makes sure that FUSE-over-io_uring can be used: the kernel has it, it is switched on (which is
/// done here if the user may), and the user can have an io_uring of the kind it needs.
///
/// # Errors
///
/// What is missing, with the remedy.
pub fn ensure() -> Result<()> {
    enable(Path::new(ENABLE_URING))?;
    IoUring::<Entry128, cqueue::Entry>::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_no_sqarray()
        .build(8)
        .map(drop)
        .map_err(setup_error)
}

/// Whether FUSE-over-io_uring is switched on; `None` if this kernel does not have it.
pub fn enabled() -> Option<bool> {
    let value = fs::read_to_string(ENABLE_URING).ok()?;
    Some(is_on(&value))
}

/// How many CPUs the machine can have: the kernel has that many queues per connection
/// (`num_possible_cpus`, fs/fuse/dev_uring.c) and uses none before all have an entry.
///
/// # Errors
///
/// If sysfs is not mounted or says something unheard of.
pub fn possible_cpus() -> Result<u16> {
    let list = fs::read_to_string(POSSIBLE_CPUS)
        .map_err(|source| Error::path("cannot read", POSSIBLE_CPUS, source))?;
    count_cpus(&list).ok_or_else(|| Error::Unsupported {
        what: format!("{POSSIBLE_CPUS} is no list of CPUs: {list:?}"),
        remedy: String::new(),
    })
}

fn enable(switch: &Path) -> Result<()> {
    let value = fs::read_to_string(switch).map_err(|_| Error::Unsupported {
        what: "this kernel has no FUSE-over-io_uring".into(),
        remedy: "Linux 6.14 or newer with CONFIG_FUSE_IO_URING=y; modprobe fuse if it is a module"
            .into(),
    })?;
    if is_on(&value) {
        return Ok(());
    }
    fs::write(switch, "Y").map_err(|source| {
        Error::path(
            "FUSE-over-io_uring is switched off and cannot be switched on by",
            switch,
            source,
        )
        .with_remedy(format!("as root: echo Y > {}", switch.display()))
    })?;
    tracing::info!("switched FUSE-over-io_uring on ({})", switch.display());
    Ok(())
}

/// Why io_uring_setup(2) failed, with the remedy.
pub(super) fn setup_error(source: io::Error) -> Error {
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

fn is_on(value: &str) -> bool {
    matches!(value.trim(), "Y" | "y" | "1")
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

    #[test]
    fn a_kernel_without_the_switch_is_named() {
        let error = enable(Path::new("/proc/self/no such switch")).unwrap_err();
        assert!(
            error.to_string().contains("no FUSE-over-io_uring"),
            "{error}"
        );
    }

    #[test]
    fn the_switch_is_turned_on() {
        let dir = tempfile::tempdir().unwrap();
        let switch = dir.path().join("enable_uring");
        fs::write(&switch, "N\n").unwrap();
        enable(&switch).unwrap();
        assert!(is_on(&fs::read_to_string(&switch).unwrap()));
    }
}
