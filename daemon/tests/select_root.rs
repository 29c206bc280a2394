//! Which transport a mount gets, and what is said where one cannot be had.
//!
//! What a machine lacks is taken from the command alone, in namespaces of its own: nothing changes for
//! others.

mod common;

use common::{
    LIMIT, LowerFs, Watchdog,
    mount::temp_dir,
    shell::output,
    watchdog::{guard_mountpoint, release_mountpoint, take_down},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    process::Command,
};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

/// A lower directory, a mountpoint, and the program where everybody reaches it.
struct Place {
    dir: TempDir,
    mnt: PathBuf,
    _watchdog: Watchdog,
}

impl Place {
    fn new(test: &str) -> Self {
        let dir = temp_dir(LowerFs::Disk);
        let mnt = dir.path().join("mnt");
        for path in [&dir.path().join("lower"), &mnt] {
            fs::create_dir(path).expect("a directory");
            chown(path, Some(NOBODY), Some(NOBODY)).expect("its owner");
        }
        let program = dir.path().join("shmfuse");
        fs::copy(env!("CARGO_BIN_EXE_shmfuse"), &program).expect("a copy of the program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
        guard_mountpoint(&mnt);
        let _watchdog = Watchdog::start(test, LIMIT);
        Self {
            dir,
            mnt,
            _watchdog,
        }
    }

    /// Mounts in a mount namespace of its own that `setting` has prepared, with the words `before` in
    /// front of the command and these options; looks into the mount, and unmounts. What the daemon
    /// logged, or what the command said when it refused.
    fn mount(&self, setting: &str, before: &str, options: &str) -> Result<String, String> {
        let script = format!(
            "cd $T; {setting}
             {before} ./shmfuse mount -f lower mnt {options} 2>log & daemon=$!
             pause() {{ [ -e /proc/$daemon ] || {{ cat log; exit 1; }}; sleep 0.05; }}
             until findmnt mnt >/dev/null && {before} ls mnt >/dev/null; do pause; done
             # One that refuses late may have gone behind the look.
             until umount mnt; do pause; done; wait $daemon; cat log"
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "bash", "-uo", "pipefail", "-c", &script])
            .env("T", self.dir.path());
        let output = output(&mut command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(text),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        take_down(&self.mnt);
        release_mountpoint(&self.mnt);
    }
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
}

/// Somebody who lacks what shm needs is refused it with the remedy, and is given uring by auto, which
/// says so once.
fn is_done_without(setting: &str, before: &str, lacking: &[&str]) {
    let place = Place::new("without shm");
    let refusal = place
        .mount(setting, before, "--transport shm")
        .expect_err("no mount");
    assert_has(&refusal, lacking);
    assert_has(&refusal, &["uring"]);
    assert!(!refusal.contains("panicked"), "{refusal}");
    let log = place.mount(setting, before, "").expect("a mount");
    assert_has(&log, lacking);
    assert_has(
        &log,
        &["transport: uring; not shm", "transport uring, data"],
    );
    assert_eq!(log.matches("not shm").count(), 1, "{log}");
}

#[test]
#[ignore = "root"]
fn auto_is_shm_where_it_can_be_had() {
    let log = Place::new("auto").mount("", "", "").expect("a mount");
    assert_has(&log, &["shared memory:", "transport shm, data"]);
    assert!(!log.contains("not shm"), "{log}");
}

#[test]
#[ignore = "root"]
fn who_may_not_load_programs_is_told_so_and_given_uring() {
    let device = "mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse; chmod 777 .";
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    is_done_without(device, nobody, &["CAP_BPF"]);
}

#[test]
#[ignore = "root"]
fn a_daemon_in_a_pid_namespace_is_told_so_and_given_uring() {
    is_done_without("", "unshare --pid --fork", &["PID namespace"]);
}

#[test]
#[ignore = "root"]
fn a_kernel_without_btf_is_named_and_done_without() {
    let hidden = "mount -t tmpfs none /sys/kernel/btf";
    is_done_without(
        hidden,
        "",
        &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"],
    );
}

#[test]
#[ignore = "root"]
fn a_bound_of_memory_makes_queues_less_deep_or_is_refused() {
    let place = Place::new("memory");
    let shm = |bound: &str| place.mount("", "", &format!("--transport shm {bound}"));
    let refusal = shm("--memory-max 1M").expect_err("no mount");
    assert_has(&refusal, &["--memory-max 1M", "M or more", "--max-write"]);
    let log = shm("--memory-max 100M --queue-depth 128").expect("a mount");
    assert_has(&log, &["not 128 slots", "--memory-max 100M"]);
    let log = shm("--head-len 1M --queue-depth 2").expect("a mount");
    assert_has(&log, &["heads of 1024 KiB", "0M beside"]);
    // Where the choice is ours, what does without the memory is taken.
    let log = place.mount("", "", "--memory-max 1M").expect("a mount");
    assert_has(&log, &["transport: uring; not shm: --memory-max 1M"]);
}
