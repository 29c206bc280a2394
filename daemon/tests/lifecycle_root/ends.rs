//! Ways in which a mount ends.

use crate::common::{
    TestMount, Variant, bash, child::Forked, load::Load, mount::is_fuse_mountpoint, wait_until,
    watchdog::evidence_so_far,
};
use nix::sys::{
    signal::Signal,
    wait::{WaitStatus, waitpid},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
};

/// Writes to a mapping for good; ends by SIGBUS when the file can no longer be had.
fn scribble(mount: &TestMount) {
    let path = mount.path().join("mapped");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    let file = file.unwrap();
    file.set_len(1 << 20).unwrap();
    #[expect(
        unsafe_code,
        reason = "a mapped file is one of the things a dead daemon leaves"
    )]
    // SAFETY: only this process uses the file.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
    for round in 0.. {
        for page in (0..map.len()).step_by(4096) {
            map[page] = round;
        }
        if map.flush().is_err() {
            return;
        }
    }
}

fn a_killed_daemon_leaves_nobody_hanging_and_the_place_free(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let mut load = Load::start(mount.path());
    let scribbler = Forked::start(|| scribble(&mount));
    let mut open = File::create(mount.path().join("open")).unwrap();
    open.write_all(b"before").unwrap();
    load.wait_for_rounds(3);

    mount.the_daemon().signal(Signal::SIGKILL);
    assert!(!mount.the_daemon().wait().success());
    load.wait_for_end();
    let end = waitpid(scribbler.pid(), None).unwrap();
    assert!(
        matches!(
            end,
            WaitStatus::Exited(..) | WaitStatus::Signaled(_, Signal::SIGBUS, _)
        ),
        "{end:?}"
    );
    let error = open
        .write_all(b"after")
        .and_then(|()| open.sync_all())
        .unwrap_err();
    assert!(
        [nix::libc::ENOTCONN, nix::libc::ECONNABORTED].contains(&error.raw_os_error().unwrap()),
        "{error}"
    );
    drop(open);
    mount.unmount();
    assert!(!is_fuse_mountpoint(mount.path()), "{}", evidence_so_far());

    let again = TestMount::builder(variant)
        .lower(mount.lower())
        .mountpoint(mount.path())
        .mount();
    bash(
        again.path(),
        "ls -R >/dev/null; echo works >new; grep -q works new",
    );
    again.finish();
    mount.abandon();
}

fn a_daemon_told_to_end_unmounts(variant: Variant) {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut mount = TestMount::new(variant);
        fs::write(mount.path().join("file"), "text").unwrap();
        mount.the_daemon().signal(signal);
        mount.the_daemon().expect_clean_end();
        assert!(
            !is_fuse_mountpoint(mount.path()),
            "still mounted after {signal}"
        );
        assert_eq!(
            fs::read_to_string(mount.lower().join("file")).unwrap(),
            "text"
        );
        mount.abandon();
    }
}

fn a_daemon_told_to_end_under_load_loses_nothing_that_was_written(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let mut load = Load::start(mount.path());
    let mut file = File::create_new(mount.path().join("file")).unwrap();
    file.write_all(&[7; 100_000]).unwrap();
    load.wait_for_rounds(1);
    mount.the_daemon().signal(Signal::SIGTERM);
    wait_until("the mount is gone from its place", || {
        !is_fuse_mountpoint(mount.path())
    });
    assert_eq!(fs::read(mount.lower().join("file")).unwrap(), [7; 100_000]);
    drop(file);
    drop(load);
    mount.the_daemon().wait();
    mount.abandon();
}

fn a_lazy_umount_serves_open_files_to_their_end(variant: Variant) {
    let mut mount = TestMount::new(variant);
    fs::write(mount.path().join("file"), [1; 300_000]).unwrap();
    let mut file = File::open(mount.path().join("file")).unwrap();
    bash(mount.scratch(), "umount -l mnt");
    assert!(!is_fuse_mountpoint(mount.path()));
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, [1; 300_000]);
    assert!(
        mount.the_daemon().poll().is_none(),
        "the daemon ended under an open file"
    );
    drop(file);
    mount.the_daemon().expect_clean_end();
    mount.abandon();
}

fn an_aborted_connection_ends_the_daemon(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let mut load = Load::start(mount.path());
    load.wait_for_rounds(1);
    let connection = mount.connection();
    bash(
        mount.scratch(),
        &format!(
            "test -e /sys/fs/fuse/connections/{connection} ||
                 mount -t fusectl fusectl /sys/fs/fuse/connections
             echo 1 >/sys/fs/fuse/connections/{connection}/abort"
        ),
    );
    load.wait_for_end();
    mount.the_daemon().wait();
    mount.abandon();
}

for_every_daemon_variant!(
    on_variant,
    [
        a_killed_daemon_leaves_nobody_hanging_and_the_place_free,
        a_lazy_umount_serves_open_files_to_their_end,
    ]
);

mod without_data {
    use super::*;
    for_every_transport!(
        on_variant,
        [
            a_daemon_told_to_end_unmounts,
            a_daemon_told_to_end_under_load_loses_nothing_that_was_written,
            an_aborted_connection_ends_the_daemon,
        ]
    );
}
