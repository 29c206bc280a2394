//! The system calls that a serving thread can no longer make (seccomp(2)).
//!
//! A list of what is refused, not of what is allowed: a C library may come to use another call for
//! the same thing, and a file system that answers EPERM of a sudden is worse than one that could
//! still call sched_yield(2). What is refused is what turns a mistake in serving into more than
//! that: other programs, other mounts, other namespaces, other processes' memory, the kernel itself.
//! A refused call fails with EPERM.
//!
//! Calls that no argument is looked at for cost nothing: the kernel keeps a bitmap of those that a
//! filter always allows (`seccomp_cache_check_allow`, kernel/seccomp.c).

use crate::error::{Error, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::{collections::BTreeMap, io};

/// Refused whatever the arguments.
const REFUSED: &[i64] = &[
    // other programs
    libc::SYS_execve,
    libc::SYS_execveat,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // mounts, roots, namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    // identities; those of the file system (setfsuid) stay
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    // the kernel: programs, modules, tracing, another kernel
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // the machine: clocks, names, the console
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // the network; the socket to the system's log is open
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_listen,
];

/// Those that x86-64 alone has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The bit that marks a call of the x32 ABI: it passes for one of x86-64 with another number
/// (`__X32_SYSCALL_BIT`, arch/x86/include/uapi/asm/unistd.h).
#[cfg(target_arch = "x86_64")]
const OTHER_NUMBERS: &[i64] = &[0x4000_0000];
#[cfg(not(target_arch = "x86_64"))]
const OTHER_NUMBERS: &[i64] = &[];

/// Puts the filter before the calling thread, which has no_new_privs.
///
/// # Errors
///
/// A kernel without `CONFIG_SECCOMP_FILTER`, or an architecture without a filter.
pub fn apply() -> Result<()> {
    let cannot = |error: &dyn std::fmt::Display| {
        let error = io::Error::other(error.to_string());
        Error::system("cannot filter a serving thread's system calls", error)
            .with_remedy("a kernel with CONFIG_SECCOMP_FILTER")
    };
    let program = program().map_err(|error| cannot(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| cannot(&error))
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for &call in REFUSED.iter().chain(REFUSED_HERE) {
        rules.insert(call, Vec::new());
        for number in OTHER_NUMBERS {
            rules.insert(call | number, Vec::new());
        }
    }
    // A thread has a umask of its own by unshare(CLONE_FS), and that is all it may unshare.
    let other_than_fs = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::Ne,
        libc::CLONE_FS as u64,
    )?;
    let unshare = SeccompRule::new(vec![other_than_fs])?;
    for number in OTHER_NUMBERS.iter().chain(&[0]) {
        rules.insert(libc::SYS_unshare | number, vec![unshare.clone()]);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        arch,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_one_that_the_kernel_takes() {
        /// `BPF_MAXINSNS`, include/uapi/linux/bpf_common.h.
        const INSTRUCTIONS_MAX: usize = 4096;
        let program = program().unwrap();
        assert!((1..INSTRUCTIONS_MAX).contains(&program.len()));
    }

    /// The least of many: other work of the machine only adds to it.
    fn nanoseconds(call: impl Fn()) -> f64 {
        const CALLS: u32 = 100;
        let rounds = (0..5000).map(|_| {
            let start = std::time::Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        });
        rounds.fold(f64::INFINITY, f64::min)
    }

    /// Prints nanoseconds a call, before the filter and behind it; docs/security.md has what came of it.
    #[test]
    #[ignore = "a measurement"]
    fn what_a_call_costs_without_the_filter_and_with_it() {
        let calls = || {
            let flags = nix::sched::CloneFlags::CLONE_FS;
            [
                nanoseconds(|| _ = nix::unistd::getppid()),
                nanoseconds(|| _ = nix::sched::unshare(flags)),
            ]
        };
        let measured = std::thread::spawn(move || {
            let before = calls();
            rustix::thread::set_no_new_privs(true).unwrap();
            apply().unwrap();
            (before, calls())
        });
        let (before, after) = measured.join().unwrap();
        for (index, name) in ["getppid", "unshare"].iter().enumerate() {
            println!("{name}: {:.0?} -> {:.0?}", before[index], after[index]);
        }
    }
}
