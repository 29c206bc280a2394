//! The daemon is killed, stopped, out of its time, or does not answer.

use crate::common::{Daemon, TestMount, Variant, bash, on_variant, shell, wait_until};
use nix::{errno::Errno, sys::signal::Signal};
use std::{
    fs::{self, File},
    io::Write as _,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

fn what_fsync_acknowledged_is_there_after_the_daemon_was_killed(variant: Variant) {
    let mut mount = TestMount::builder(variant).mount();
    let acknowledged = [(); 4].map(|()| AtomicUsize::new(0));
    let place = mount.path().to_owned();
    let mut daemon = mount.take_daemon();
    thread::scope(|scope| {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let place = &place;
            scope.spawn(move || {
                // Until the daemon is gone: then each of these fails.
                for number in 0.. {
                    let text = format!("{writer} {number}\n").repeat(1000);
                    let written = File::create(place.join(format!("{writer}-{number}")))
                        .and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file))
                        .and_then(|file| file.sync_all());
                    if written.is_err() {
                        return;
                    }
                    acknowledged.store(number + 1, Ordering::Relaxed);
                }
            });
        }
        wait_until("each has written some", || {
            acknowledged
                .iter()
                .all(|count| count.load(Ordering::Relaxed) >= 5)
        });
        daemon.signal(Signal::SIGKILL);
    });
    // While its rings are being closed other errors are seen.
    wait_until("the mount has ended", || {
        let error = fs::metadata(&place).expect_err("no daemon");
        error.raw_os_error() == Some(Errno::ENOTCONN as i32)
    });
    for (writer, count) in acknowledged.iter().enumerate() {
        for number in 0..count.load(Ordering::Relaxed) {
            let path = mount.lower().join(format!("{writer}-{number}"));
            let text = fs::read_to_string(path).expect("a file that was acknowledged");
            assert_eq!(text, format!("{writer} {number}\n").repeat(1000));
        }
    }
    mount.give_daemon(daemon);
    mount.abandon();
}

/// A thread that waits for an answer of its own process keeps `/dev/fuse` open beyond SIGKILL, and then there is
/// nobody to answer.
fn a_daemon_that_is_killed_while_its_mount_is_asked_for_the_first_time_goes(variant: Variant) {
    // Longer each time that we came too late to see it asked.
    for delay in ["400ms", "1s", "3s", "9s"] {
        let mut mount = TestMount::builder(variant)
            .args(&["--lower-delay", delay])
            .mount();
        // Whoever asks whether the mount answers has asked for attributes, and asks for statistics.
        let in_time = !mount.the_daemon().log().contains("mounted on");
        let mut daemon = mount.take_daemon();
        daemon.signal(Signal::SIGKILL);
        wait_until("the daemon is gone", || daemon.poll().is_some());
        mount.give_daemon(daemon);
        mount.abandon();
        if in_time {
            return;
        }
    }
    panic!("each mount was complete before the daemon could be killed");
}

fn a_clock_far_ahead_is_nothing_to_the_daemon(variant: Variant) {
    let mount = TestMount::builder(variant).mount();
    // A time namespace has clocks of its own: monotonic and since boot, here 100 years ahead (`proc_timens_set_offset`, kernel/time/namespace.c, takes no more than 146). That of
    // the day is the machine's, and is left alone; the daemon measures nothing by it.
    let script = format!(
        "mkdir {0}/far {0}/lower2; {1} mount {0}/lower2 {0}/far {2}; echo x >{0}/far/file
         grep x {0}/far/file; {1} umount {0}/far; grep x {0}/lower2/file",
        mount.scratch().display(),
        Daemon::program(),
        variant.args().join(" ")
    );
    let mut command = Command::new("unshare");
    command
        .args([
            "--time",
            "--fork",
            "--monotonic",
            "3153600000",
            "--boottime",
            "3153600000",
        ])
        .args(["--mount", "bash", "-euo", "pipefail", "-c", &script]);
    let output = shell::output(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare: ") {
        return crate::common::skip::skip("a_clock_far_ahead", said.trim());
    }
    assert!(output.status.success(), "{said}");
    mount.finish();
}

fn a_signal_ends_whoever_waits_for_a_slow_lower_file_system(variant: Variant) {
    let mount = TestMount::builder(variant)
        .args(&["--lower-delay", "2s:slow*"])
        .mount();
    fs::write(mount.lower().join("slow"), "content").unwrap();
    let mut waiting = Command::new("cat")
        .arg(mount.path().join("slow"))
        .spawn()
        .expect("cat");
    thread::sleep(Duration::from_millis(200));
    waiting.kill().expect("a signal");
    let status = waiting.wait().expect("its end");
    assert!(!status.success());
    // The mount is as before.
    assert_eq!(bash(mount.path(), "echo x >other; cat other"), "x\n");
    mount.finish();
}

/// The kernel looks every 15 seconds: all transports at once.
#[test]
#[ignore = "root"]
fn a_request_without_an_answer_ends_the_mount_when_its_time_is_up() {
    let name = "a_request_without_an_answer_ends_the_mount_when_its_time_is_up";
    on_variant(Variant::CLASSIC_COPY, name, |_| {
        let variants = [
            Variant::CLASSIC_COPY,
            Variant::URING_COPY,
            Variant::SHM_COPY,
        ];
        let args = ["--request-timeout", "1", "--lower-delay", "60s:never"];
        let mut mounts = Vec::new();
        for variant in variants
            .into_iter()
            .filter(|variant| variant.available().is_ok())
        {
            match TestMount::builder(variant).args(&args).try_mount() {
                Ok(mount) => mounts.push(mount),
                Err(refusal) if refusal.contains("does not time requests out") => {
                    return crate::common::skip::skip(
                        name,
                        "the kernel does not time requests out",
                    );
                }
                Err(refusal) => panic!("{refusal}"),
            }
        }
        thread::scope(|scope| {
            for mount in &mounts {
                fs::write(mount.lower().join("never"), "").unwrap();
                scope.spawn(|| {
                    let error = fs::metadata(mount.path().join("never")).expect_err("no answer");
                    let errno = error.raw_os_error().map(Errno::from_raw);
                    assert!(
                        matches!(
                            errno,
                            Some(Errno::ECONNABORTED | Errno::ENOTCONN | Errno::EINTR)
                        ),
                        "{error}"
                    );
                });
            }
        });
        mounts.into_iter().for_each(TestMount::abandon);
    });
}

for_every_transport!(
    on_variant,
    [
        a_daemon_that_is_killed_while_its_mount_is_asked_for_the_first_time_goes,
        what_fsync_acknowledged_is_there_after_the_daemon_was_killed,
        a_clock_far_ahead_is_nothing_to_the_daemon,
        a_signal_ends_whoever_waits_for_a_slow_lower_file_system,
    ]
);
