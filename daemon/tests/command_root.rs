//! The command on real mounts: as a daemon, by mount(8), without privilege, and what it says when
//! there can be no mount.

mod common;

#[path = "command_root/cache.rs"]
mod cache;
#[path = "command_root/doctor.rs"]
mod doctor;

use common::{
    LIMIT, LowerFs, Watchdog,
    mount::temp_dir,
    shell::output,
    wait_until,
    watchdog::{guard_mountpoint, release_mountpoint, take_down},
};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use shmfuse::mount::{presence, table::MountTable};
use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixDatagram,
    },
    path::PathBuf,
    process::{Command, Output},
    thread,
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_shmfuse");

/// Nobody, who owns nothing.
const NOBODY: u32 = 65534;

/// A lower directory with one file, and a mountpoint.
struct Place {
    dir: TempDir,
    lower: PathBuf,
    mnt: PathBuf,
    _watchdog: Watchdog,
}

impl Place {
    fn new(test: &str) -> Self {
        let dir = temp_dir(LowerFs::Disk);
        let (lower, mnt) = (dir.path().join("lower"), dir.path().join("mnt"));
        for path in [&lower, &mnt] {
            fs::create_dir(path).expect("a directory");
            chown(path, Some(NOBODY), Some(NOBODY)).expect("its owner");
        }
        fs::write(lower.join("file"), "as below\n").expect("a file");
        guard_mountpoint(&mnt);
        Self {
            dir,
            lower,
            mnt,
            _watchdog: Watchdog::start(test, LIMIT),
        }
    }

    /// `shmfuse mount LOWER MOUNTPOINT` with these options.
    fn mount(&self, options: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.arg("mount").args([&self.lower, &self.mnt]);
        output(command.args(options).env("RUST_BACKTRACE", "full"))
    }

    /// `shmfuse umount MOUNTPOINT` with these options.
    fn umount(&self, options: &[&str]) -> Output {
        output(
            Command::new(PROGRAM)
                .arg("umount")
                .arg(&self.mnt)
                .args(options),
        )
    }

    /// Runs a script in a mount namespace of its own, where `$T` is the test's directory and
    /// `shmfuse` the program. The mounts that it makes are seen nowhere else.
    fn script(&self, script: &str) -> Output {
        let program = self.dir.path().join("shmfuse");
        // Where users without privilege reach it.
        fs::copy(PROGRAM, &program).expect("a copy of the program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
        let preamble = "cd $T; PATH=$T:$PATH
            as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"; }
            open_device() {
                mknod $T/fuse c 10 229; chmod 666 $T/fuse; mount --bind $T/fuse /dev/fuse
            }\n";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "bash", "-euo", "pipefail", "-c"])
            .arg(format!("{preamble}{script}"))
            .env("T", self.dir.path());
        output(&mut command)
    }

    /// The process that serves the mount.
    fn daemon(&self) -> Option<Pid> {
        let table = MountTable::read().expect("the mount table");
        let mount = table.top(&self.mnt).filter(|mount| mount.is_ours())?;
        let daemon = presence::find(mount.device).expect("a daemon behind the mount");
        Some(Pid::from_raw(daemon.pid().as_raw_nonzero().get()))
    }

    fn reads(&self) -> bool {
        fs::read_to_string(self.mnt.join("file")).is_ok_and(|text| text == "as below\n")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        take_down(&self.mnt);
        release_mountpoint(&self.mnt);
    }
}

/// Whether the process is there; one that nobody has waited for yet is not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    kill(pid, None) != Err(Errno::ESRCH) && !state.starts_with(['Z', 'X'])
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the command says when it refuses: one line.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("shmfuse: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "no '{part}' in: {said}");
    }
}

#[test]
#[ignore = "root"]
fn mount_returns_when_the_mount_answers_and_umount_when_the_daemon_has_gone() {
    let place = Place::new("mount_and_umount");
    for transport in ["classic", "splice", "uring", "shm", "auto"] {
        succeeds(&place.mount(&["--transport", transport]));
        assert!(place.reads(), "{transport}");
        let daemon = place.daemon().expect("a mount");
        succeeds(&place.umount(&[]));
        assert!(!runs(daemon), "{transport}");
        assert_eq!(place.daemon(), None, "{transport}");
    }
}

#[test]
#[ignore = "root"]
fn an_unmount_from_outside_ends_the_daemon() {
    let place = Place::new("outside");
    succeeds(&place.mount(&[]));
    let daemon = place.daemon().expect("a mount");
    succeeds(&output(Command::new("umount").arg(&place.mnt)));
    wait_until("the daemon has ended", || !runs(daemon));
}

#[test]
#[ignore = "root"]
fn a_mount_of_ours_is_not_covered_by_another() {
    let place = Place::new("double");
    succeeds(&place.mount(&[]));
    let place_name = place.mnt.to_str().expect("UTF-8");
    let remedy = format!("(shmfuse umount {place_name})");
    refused(&place.mount(&[]), &[place_name, "already", &remedy]);
    assert!(place.reads());
    succeeds(&place.umount(&[]));
}

#[test]
#[ignore = "root"]
fn of_commands_that_mount_at_the_same_place_at_once_one_succeeds() {
    let place = Place::new("race");
    for _ in 0..5 {
        let outputs = thread::scope(|scope| {
            let mounts = [(); 4].map(|()| scope.spawn(|| place.mount(&[])));
            mounts.map(|mount| mount.join().expect("a thread of the test"))
        });
        let (mounted, others): (Vec<_>, Vec<_>) =
            outputs.iter().partition(|output| output.status.success());
        assert_eq!(mounted.len(), 1, "{outputs:?}");
        others
            .into_iter()
            .for_each(|output| refused(output, &["already"]));
        assert!(place.reads());
        succeeds(&place.umount(&[]));
        assert_eq!(place.daemon(), None);
    }
}

#[test]
#[ignore = "root"]
fn a_place_whose_daemon_was_killed_is_named_freed_and_used_again() {
    let place = Place::new("killed");
    succeeds(&place.mount(&[]));
    let daemon = place.daemon().expect("a mount");
    kill(daemon, Signal::SIGKILL).expect("a signal");
    wait_until("the daemon has ended", || !runs(daemon));
    refused(&place.mount(&[]), &["already", "(shmfuse umount "]);
    succeeds(&place.umount(&[]));
    succeeds(&place.mount(&[]));
    assert!(place.reads());
    succeeds(&place.umount(&[]));
}

#[test]
#[ignore = "root"]
fn a_mount_in_use_is_unmounted_lazily_or_by_force_only() {
    let place = Place::new("in_use");
    succeeds(&place.mount(&[]));
    let file = fs::File::open(place.mnt.join("file")).expect("a file");
    refused(&place.umount(&[]), &["busy", "--lazy"]);
    let daemon = place.daemon().expect("a mount");
    succeeds(&place.umount(&["--lazy"]));
    assert_eq!(place.daemon(), None);
    assert!(runs(daemon), "a file is still open");
    drop(file);
    wait_until("the daemon has ended", || !runs(daemon));

    succeeds(&place.mount(&[]));
    let _file = fs::File::open(place.mnt.join("file")).expect("a file");
    let daemon = place.daemon().expect("a mount");
    succeeds(&place.umount(&["--force"]));
    assert!(!runs(daemon));
    assert_eq!(place.daemon(), None);
}

#[test]
#[ignore = "root"]
fn a_daemon_does_not_mind_a_hang_up_and_unmounts_on_sigint() {
    let place = Place::new("signals");
    succeeds(&place.mount(&[]));
    let daemon = place.daemon().expect("a mount");
    kill(daemon, Signal::SIGHUP).expect("a signal");
    assert!(place.reads() && runs(daemon));
    kill(daemon, Signal::SIGINT).expect("a signal");
    wait_until("the daemon has ended", || !runs(daemon));
    assert_eq!(place.daemon(), None);
}

#[test]
#[ignore = "root"]
fn a_second_signal_ends_a_mount_in_use_at_once() {
    let place = Place::new("second_signal");
    succeeds(&place.mount(&[]));
    let daemon = place.daemon().expect("a mount");
    let _file = fs::File::open(place.mnt.join("file")).expect("a file");
    kill(daemon, Signal::SIGTERM).expect("a signal");
    wait_until("the mount is detached", || place.daemon().is_none());
    // Whether it comes before the daemon's patience runs out or after is all the same here.
    let _ = kill(daemon, Signal::SIGINT);
    wait_until("the daemon has ended", || !runs(daemon));
}

#[test]
#[ignore = "root"]
fn the_log_file_says_what_was_chosen() {
    let place = Place::new("log_file");
    let log = place.dir.path().join("log");
    let log_name = log.to_str().expect("UTF-8");
    succeeds(&place.mount(&["-o", &format!("transport=classic,log_file={log_name}")]));
    succeeds(&place.umount(&[]));
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.contains("transport classic"), "{text}");
    assert!(text.contains("unmounted"), "{text}");
}

#[test]
#[ignore = "root"]
fn a_mount_that_is_refused_leaves_nothing_behind() {
    let place = Place::new("refused");
    let output = place.mount(&["-o", "allow_other,nodefault_permissions"]);
    refused(&output, &["permissions"]);
    assert_eq!(place.daemon(), None);
    // Nothing uses the place any more, whatever was on its way.
    fs::remove_dir(&place.mnt).expect("an unused directory");
    fs::create_dir(&place.mnt).expect("a directory");
}

#[test]
#[ignore = "root"]
fn mount_and_fstab_know_the_type() {
    let place = Place::new("mount_8");
    let text = succeeds(&place.script(
        "mkdir sbin; ln -s $T/shmfuse sbin/mount.fuse.shmfuse; mount --bind sbin $(realpath /sbin)
         mount -t fuse.shmfuse $T/lower $T/mnt -o transport=uring,cache=ttl=1,allow_other,noatime
         cat mnt/file; findmnt -no FSTYPE,SOURCE,OPTIONS mnt; umount mnt
         echo \"$T/lower $T/mnt fuse.shmfuse data=copy,max_write=64K,ro,_netdev,x-a=b 0 0\" > fstab
         mount -T $T/fstab $T/mnt; cat mnt/file; findmnt -no OPTIONS mnt; shmfuse umount mnt",
    ));
    let lines: Vec<_> = text.lines().collect();
    let [first, one, second, two] = lines[..] else {
        panic!("{text}");
    };
    assert_eq!([first, second], ["as below"; 2]);
    assert!(
        one.starts_with("fuse.shmfuse ") && one.contains("/lower "),
        "{one}"
    );
    assert!(
        one.contains("allow_other") && one.contains("noatime"),
        "{one}"
    );
    assert!(two.starts_with("ro,"), "{two}");
}

#[test]
#[ignore = "root"]
fn a_supervisor_is_told_when_the_mount_answers() {
    let place = Place::new("supervisor");
    let path = place.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut daemon = Command::new(PROGRAM)
        .args(["mount", "-f"])
        .args([&place.lower, &place.mnt])
        .env("NOTIFY_SOCKET", &path)
        .spawn()
        .expect("the daemon");
    let mut message = [0; 64];
    let len = socket.recv(&mut message).expect("a message");
    assert!(message[..len].starts_with(b"READY=1\n"));
    assert!(place.reads());
    succeeds(&place.umount(&[]));
    assert!(daemon.wait().expect("its end").success());
}

#[test]
#[ignore = "root"]
fn a_user_without_privilege_mounts_by_fusermount3() {
    let place = Place::new("fusermount3");
    for transport in ["classic", "splice", "uring"] {
        let text = succeeds(&place.script(&format!(
            "open_device
             as_nobody shmfuse mount lower mnt --transport {transport}
             as_nobody cat mnt/file; findmnt -no FSTYPE,OPTIONS mnt
             as_nobody shmfuse umount mnt"
        )));
        assert!(text.starts_with("as below\nfuse.shmfuse "), "{text}");
        assert!(text.contains("user_id=65534"), "{text}");
        fs::remove_file(place.dir.path().join("fuse")).expect("the device of the test");
    }
}

#[test]
#[ignore = "root"]
fn a_user_without_privilege_is_told_what_is_lacking() {
    let place = Place::new("lacking");
    let output = place.script("as_nobody shmfuse mount lower mnt");
    refused(
        &output,
        &["/dev/fuse", "Permission denied", "(as root: chmod"],
    );
    let output = place.script("as_nobody env PATH=/none $T/shmfuse mount lower mnt");
    refused(
        &output,
        &["fusermount3", "(install the package fuse3, or be root)"],
    );
    let output = place.script("open_device; as_nobody shmfuse mount lower mnt -o suid");
    refused(&output, &["suid", "root only"]);
    let output = place.script("as_nobody shmfuse mount lower mnt --data passthrough");
    refused(&output, &[]);
}

#[test]
#[ignore = "root"]
fn a_missing_device_is_named_with_the_remedy() {
    let place = Place::new("missing_device");
    let output = place.script("mount -t tmpfs none /dev; shmfuse mount lower mnt");
    refused(&output, &["/dev/fuse", "No such file", "modprobe fuse"]);
}

#[test]
#[ignore = "root"]
fn a_switch_of_io_uring_that_is_off_is_named_or_done_without() {
    let place = Place::new("switch");
    // A file system that is mounted read-only stands in for a switch that cannot be turned.
    let off = "mkdir -p off; mount -t tmpfs none off; echo N > off/N; mount -o remount,ro off
         mount --bind off/N /sys/module/fuse/parameters/enable_uring\n";
    let output = place.script(&format!("{off} shmfuse mount lower mnt --transport uring"));
    refused(&output, &["io_uring", "off", "echo Y > /sys/module/fuse"]);
    let text = succeeds(&place.script(&format!(
        "{off} shmfuse mount lower mnt --log-file log; shmfuse umount mnt; cat log"
    )));
    assert!(text.contains("transport: classic; not uring"), "{text}");
}
