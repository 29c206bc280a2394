//! Many files, each asked for again: all but a few are answered from the maps, and only what is not costs
//! calls of the lower file system.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant, bash, scale, wait_until};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Files of each directory.
const IN_ONE: u64 = 100;

/// Lower calls that a miss may cost: a name is turned into a handle, and that is looked at, or opened and looked
/// at; and a directory that is loaded ahead for it is opened and listed.
const OF_A_MISS: u64 = 4;

/// System calls by which the daemon asks the lower file system of names and attributes.
const LOWER_CALLS: &str = "trace=statx,newfstatat,fstat,statfs,fstatfs,openat,openat2,open_by_handle_at,\
                           name_to_handle_at,getdents64,readlinkat,getxattr,lgetxattr,fgetxattr,\
                           listxattr,llistxattr,flistxattr";

/// The daemon under strace(1), which writes each of these calls to a file.
struct Traced {
    strace: Child,
}

impl Traced {
    fn start(mount: &TestMount, log: &Path) -> Self {
        let pid = mount.daemon_seen().expect("a daemon").pid();
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", LOWER_CALLS, "-e", "signal=none", "-p"])
            .args([&pid.to_string(), "-o"])
            .arg(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("strace, which cargo xtask setup installs");
        let traced = Self { strace };
        wait_until("each thread of the daemon is traced", || {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
            tasks.flatten().all(|task| {
                fs::read_to_string(task.path().join("status"))
                    .is_ok_and(|status| !status.lines().any(|line| line == "TracerPid:\t0"))
            })
        });
        traced
    }

    /// How many there were.
    fn end(mut self, log: &Path) -> u64 {
        let pid = i32::try_from(self.strace.id()).expect("a process id");
        let interrupt = nix::sys::signal::Signal::SIGINT;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), interrupt).expect("a signal");
        self.strace.wait().expect("the end of strace");
        let text = fs::read_to_string(log).expect("what strace wrote");
        // A call that another thread's call interrupts in the file has a second line.
        text.lines()
            .filter(|line| !line.contains(" resumed>"))
            .count() as u64
    }
}

fn ask_all(mount: &TestMount, files: u64) {
    for dir in 0..files / IN_ONE {
        for file in 0..IN_ONE {
            let path = mount.path().join(format!("{dir}/{file}"));
            fs::symlink_metadata(path).expect("a file");
        }
    }
}

fn many_files_are_answered(variant: Variant, files: u64) {
    // A fact of each name, one of each file's attributes; sets run full before the whole does.
    let entries = (files * 4).to_string();
    let mount = mounted(TestMount::builder(variant).args(&["--s1-entries", &entries]));
    bash(
        mount.lower(),
        &format!(
            "mkdir {{0..{}}}; touch {{0..{}}}/{{0..{}}}",
            files / IN_ONE - 1,
            files / IN_ONE - 1,
            IN_ONE - 1
        ),
    );
    ask_all(&mount, files);
    let log = mount
        .lower()
        .parent()
        .expect("the test's directory")
        .join("strace");
    let traced = Traced::start(&mount, &log);
    let before = Counted::of(&mount);
    ask_all(&mount, files);
    let after = Counted::of(&mount);
    let calls = traced.end(&log);
    let of = |count: fn(&Counted, &str) -> u64| -> u64 {
        let asked = ["LOOKUP", "GETATTR"];
        asked
            .iter()
            .map(|opcode| count(&after, opcode) - count(&before, opcode))
            .sum()
    };
    let (answered, misses) = (of(Counted::answered), of(Counted::dispatched));
    let ratio = answered as f64 / (answered + misses) as f64;
    eprintln!(
        "{files} files: {answered} answered, {misses} misses, ratio {ratio:.4}; {calls} lower calls; evicted {}",
        after.s1("evicted")
    );
    assert!(
        answered + misses >= files,
        "the kernel asked for less than each file"
    );
    assert!(ratio > 0.95, "a hit ratio of {ratio}");
    assert!(
        calls <= OF_A_MISS * misses,
        "{calls} calls for {misses} misses"
    );
    mount.finish();
}

fn five_thousand_files_are_answered(variant: Variant) {
    many_files_are_answered(variant, 5000);
}

fn a_hundred_thousand_files_are_answered(variant: Variant) {
    let files = if scale::factor() > 1 { 100_000 } else { 5000 };
    many_files_are_answered(variant, files);
}

variant_tests!(
    worker,
    Variant::SHM_COPY,
    on_variant,
    [five_thousand_files_are_answered]
);
variant_tests!(
    full_run_worker,
    Variant::SHM_COPY,
    on_variant,
    [a_hundred_thousand_files_are_answered]
);
