//! What the shm transport needs of the machine beside the rings: kernel programs, as far as a moment's
//! trial can tell. Whether this kernel takes the programs themselves shows when they are loaded.

use crate::{
    bpf::load::check_pid_namespace,
    doctor::trial::{self, ACQUIRE_AND_RELEASE, Kind},
    error::{Error, Result, why},
};
use std::{io, path::Path};

/// Where the kernel describes its types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`.
const PROG_RAW_TRACEPOINT: u32 = 17;

/// Tries what the programs are made of: a mappable array, a program with acquire and release, and
/// its attachment to the tracepoint at which requests arrive.
///
/// # Errors
///
/// [`Error::Unsupported`]: what is missing, with the remedy.
pub fn available() -> Result<()> {
    check_pid_namespace()?;
    trial::mappable_array().map_err(|error| lacks("arrays that can be mapped", &error))?;
    let kind = Kind {
        program: PROG_RAW_TRACEPOINT,
        attach: 0,
        target: 0,
    };
    let program = trial::load(kind, ACQUIRE_AND_RELEASE)
        .map_err(|error| lacks("programs with load-acquire", &error))?;
    trial::attach(&program, Some(c"io_uring_complete"))
        .map_err(|error| lacks("programs on the tracepoint io_uring_complete", &error))?;
    if Path::new(KERNEL_BTF).exists() {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("shared memory: there is no {KERNEL_BTF}"),
        remedy: "a kernel with CONFIG_DEBUG_INFO_BTF=y; or --transport uring".into(),
    })
}

/// What this user or kernel does not have.
fn lacks(what: &str, error: &io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "run as root, or with CAP_BPF and CAP_PERFMON",
        _ => "Linux 6.15 or newer with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT",
    };
    Error::Unsupported {
        what: format!(
            "shared memory: this process may not have BPF {what}: {}",
            why(error)
        ),
        remedy: format!("{remedy}; or --transport uring"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_a_remedy_that_fits() {
        let text = |errno| lacks("arrays", &io::Error::from_raw_os_error(errno)).to_string();
        let forbidden = text(libc::EPERM);
        assert!(
            forbidden.contains("CAP_BPF") && forbidden.contains("arrays"),
            "{forbidden}"
        );
        let old = text(libc::EINVAL);
        assert!(
            old.contains("Linux 6.15") && old.contains("--transport uring"),
            "{old}"
        );
    }
}
