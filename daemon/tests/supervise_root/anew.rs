//! The successor mounts anew at the same place: on the ring transports.

use super::{daemon_of, kill_daemon_of, supervised};
use crate::common::{TestMount, Variant, bash, wait_until};
use nix::{errno::Errno, sys::signal::Signal};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// What users of a mount may be told when its daemon has died.
const OF_A_DEAD_MOUNT: [Errno; 5] = [
    Errno::ECANCELED,
    Errno::ENOTCONN,
    Errno::ECONNABORTED,
    Errno::EIO,
    Errno::ENODEV,
];

fn users_of_a_dead_daemon_fail_at_once_and_its_place_works_again(variant: Variant) {
    let mut mount = supervised(variant);
    let path = mount.path().join("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let users: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut errors = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let read = File::open(&path).and_then(|mut file| {
                            let mut text = String::new();
                            file.read_to_string(&mut text).map(|_| text)
                        });
                        match read {
                            Ok(text) => assert_eq!(text, "synced"),
                            Err(error) => errors.push(error),
                        }
                    }
                    errors
                })
            })
            .collect();
        let dead = kill_daemon_of(mount.the_daemon());
        wait_until("another daemon serves", || {
            daemon_of(mount.the_daemon()).is_some_and(|daemon| daemon != dead)
                && fs::read(&path).is_ok_and(|text| text == b"synced")
        });
        done.store(true, Ordering::Relaxed);
        for user in users {
            for error in user.join().expect("a user") {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                // Between the two mounts the directory below is seen, and it is empty.
                let known = errno == Errno::ENOENT || OF_A_DEAD_MOUNT.contains(&errno);
                assert!(known, "{error}");
            }
        }
    });
    // What was open is lost, and says so.
    file.write_all(b"more")
        .expect_err("an open file of the dead mount");
    drop(file);
    bash(
        mount.path(),
        "echo more >>file; test $(cat file) = syncedmore; rm file",
    );
    mount.finish();
}

fn a_daemon_that_dies_again_and_again_is_left_dead(variant: Variant) {
    let mut mount = supervised(variant);
    let mut supervisor = mount.take_daemon();
    let mut last = None;
    wait_until("the supervisor gives up", || {
        if let Some(daemon) = daemon_of(&supervisor).filter(|daemon| Some(*daemon) != last) {
            let _ = nix::sys::signal::kill(daemon, Signal::SIGKILL);
            last = Some(daemon);
        }
        supervisor.poll().is_some()
    });
    assert_eq!(supervisor.wait().code(), Some(1));
    assert!(
        supervisor.log().contains("its daemon died"),
        "{}",
        supervisor.log()
    );
    mount.give_daemon(supervisor);
    mount.abandon();
}

fn a_supervised_mount_ends_as_any_other(variant: Variant) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut mount = supervised(variant);
        mount.the_daemon().signal(signal);
        mount.the_daemon().expect_clean_end();
        assert!(!crate::common::mount::is_fuse_mountpoint(mount.path()));
        mount.abandon();
    }
    // And as a daemon, by name.
    let mount = TestMount::new(Variant::Native);
    let script = format!(
        "mkdir l m; {0} mount l m --supervise {1}; echo x >m/file
         {0} umount m; cat l/file; ! grep \" $PWD/m \" /proc/mounts",
        crate::common::Daemon::program(),
        variant.args().join(" ")
    );
    assert_eq!(bash(mount.scratch(), &script), "x\n");
    mount.finish();
}

#[test]
#[ignore = "root"]
fn what_cannot_be_mounted_is_said_by_the_command() {
    let mount = TestMount::new(Variant::CLASSIC_COPY);
    let output = Command::new(crate::common::Daemon::program())
        .args(["mount", "--supervise"])
        .args([mount.lower(), mount.path()])
        .output()
        .expect("shmfuse");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("mounted there already"),
        "{said}"
    );
    mount.finish();
}

variant_tests!(
    uring,
    Variant::URING_COPY,
    on_variant,
    [users_of_a_dead_daemon_fail_at_once_and_its_place_works_again]
);
variant_tests!(
    shm,
    Variant::SHM_COPY,
    on_variant,
    [
        users_of_a_dead_daemon_fail_at_once_and_its_place_works_again,
        a_supervised_mount_ends_as_any_other,
    ]
);
variant_tests!(
    shm_kernel,
    Variant::SHM_KERNEL_COPY,
    on_variant,
    [users_of_a_dead_daemon_fail_at_once_and_its_place_works_again]
);
variant_tests!(
    classic,
    Variant::CLASSIC_COPY,
    on_variant,
    [
        a_daemon_that_dies_again_and_again_is_left_dead,
        a_supervised_mount_ends_as_any_other,
    ]
);
