//! Mounts that lie in, over, or below themselves and each other: served or refused, but nobody
//! waits for himself.

use crate::common::{
    TestMount, Variant,
    mount::temp_dir,
    watchdog::{evidence_so_far, take_down},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longest that a look around may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything an application may do in a directory, over and over a few levels deep. Errors are
/// welcome; waiting for good is not.
fn look_around(mount: &TestMount) {
    let script = "
        find . -maxdepth 5 -ls; find -L . -maxdepth 5 -type f -exec cat {} +; du -s .
        for dir in . */ */*/; do
            echo text >$dir/new; cat $dir/new; mv $dir/new $dir/newer; ln $dir/newer $dir/newest
            stat $dir/newest; rm $dir/newer $dir/newest; mkdir $dir/sub; rmdir $dir/sub; stat -f $dir
            getfattr -d -m - $dir
        done";
    let mut child = Command::new("bash")
        .args(["-c", script])
        .current_dir(mount.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            let tasks = evidence_so_far();
            take_down(mount.path());
            let _ = child.kill();
            let _ = child.wait();
            panic!("somebody waits for good:\n{tasks}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Mounts, looks around if it is served, and unmounts.
fn serve_or_refuse(variant: Variant, lower: &Path, mountpoint: &Path) {
    match TestMount::builder(variant)
        .lower(lower)
        .mountpoint(mountpoint)
        .try_mount()
    {
        Ok(mount) => {
            look_around(&mount);
            mount.finish();
        }
        Err(refusal) => {
            let last = refusal.lines().last().unwrap_or_default();
            assert!(
                refusal.starts_with("the daemon ended with exit status"),
                "{refusal}"
            );
            assert!(
                !last.is_empty() && !refusal.contains("panicked"),
                "{refusal}"
            );
        }
    }
}

fn a_lower_directory_that_holds_its_own_mountpoint(variant: Variant) {
    let dir = temp_dir(crate::common::LowerFs::Disk);
    let lower = dir.path().join("lower");
    fs::create_dir_all(lower.join("a/mnt")).unwrap();
    fs::write(lower.join("file"), "text").unwrap();
    serve_or_refuse(variant, &lower, &lower.join("a/mnt"));
    serve_or_refuse(variant, &lower, &lower.join("a"));
}

fn a_lower_directory_mounted_on_itself(variant: Variant) {
    let dir = temp_dir(crate::common::LowerFs::Disk);
    fs::create_dir_all(dir.path().join("lower/sub")).unwrap();
    fs::write(dir.path().join("lower/file"), "text").unwrap();
    serve_or_refuse(
        variant,
        &dir.path().join("lower"),
        &dir.path().join("lower"),
    );
}

fn a_lower_directory_below_its_own_mountpoint(variant: Variant) {
    let dir = temp_dir(crate::common::LowerFs::Disk);
    let mountpoint = dir.path().join("mnt");
    fs::create_dir_all(mountpoint.join("lower/sub")).unwrap();
    fs::write(mountpoint.join("lower/file"), "text").unwrap();
    serve_or_refuse(variant, &mountpoint.join("lower"), &mountpoint);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("mnt/lower", &link).unwrap();
    serve_or_refuse(variant, &link, &mountpoint);
}

fn a_lower_directory_with_links_into_the_mountpoint(variant: Variant) {
    let dir = temp_dir(crate::common::LowerFs::Disk);
    let (lower, mountpoint) = (dir.path().join("lower"), dir.path().join("mnt"));
    fs::create_dir(&lower).unwrap();
    fs::write(lower.join("file"), "text").unwrap();
    for (name, target) in [("dir", ""), ("to-file", "file"), ("to-itself", "to-itself")] {
        std::os::unix::fs::symlink(mountpoint.join(target), lower.join(name)).unwrap();
    }
    serve_or_refuse(variant, &lower, &mountpoint);
}

fn a_mount_on_top_of_another(variant: Variant) {
    let under = TestMount::new(variant);
    fs::create_dir(under.path().join("sub")).unwrap();
    fs::write(under.path().join("file"), "text").unwrap();
    serve_or_refuse(variant, under.path(), &under.scratch().join("top"));
    serve_or_refuse(
        variant,
        &under.path().join("sub"),
        &under.path().join("sub"),
    );
    look_around(&under);
    under.finish();
}

/// The upper mount lies inside the lower one's tree and leads back to its root, so that a path
/// through both goes from daemon to daemon at every step.
fn two_mounts_that_lead_into_each_other(variant: Variant) {
    let one = TestMount::new(variant);
    fs::create_dir(one.lower().join("two")).unwrap();
    fs::write(one.lower().join("file"), "text").unwrap();
    let two = TestMount::builder(variant)
        .lower(one.path())
        .mountpoint(&one.lower().join("two"))
        .try_mount();
    look_around(&one);
    if let Ok(two) = two {
        look_around(&two);
        two.finish();
    }
    one.finish();
}

for_every_daemon_variant!(
    on_variant,
    [
        a_lower_directory_that_holds_its_own_mountpoint,
        a_lower_directory_mounted_on_itself,
        a_lower_directory_below_its_own_mountpoint,
        a_lower_directory_with_links_into_the_mountpoint,
        a_mount_on_top_of_another,
        two_mounts_that_lead_into_each_other,
    ]
);
