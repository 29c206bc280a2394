//! A daemon that is killed while it revokes: the thread that does waits for a request which nobody
//! will answer, so the daemon cannot go, and somebody else has to end the mount.

use crate::common::{TestMount, Variant, wait_until};
use nix::{
    errno::Errno,
    sys::{signal::Signal, statvfs::statvfs},
};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

/// What a mount that has ended says.
const ENDED: [i32; 2] = [Errno::ENOTCONN as i32, Errno::ECONNABORTED as i32];

fn a_daemon_that_is_killed_while_it_revokes_leaves_nobody_hanging(variant: Variant) {
    let builder = TestMount::builder(variant).args(&["--lower-delay", "60s:slow*"]);
    let mut mount = builder.mount();
    let (above, below) = (mount.path().to_owned(), mount.lower().to_owned());
    let names: Vec<_> = (0..300).map(|number| format!("known{number}")).collect();
    for name in &names {
        fs::write(below.join(name), "").unwrap();
        fs::metadata(above.join(name)).unwrap();
    }
    // Holds the lock of the directory until it has an answer.
    let place = above.clone();
    let waiting = thread::spawn(move || fs::metadata(place.join("slow")));
    let pid = mount.the_daemon().pid();
    let mut names = names.iter();
    wait_until("the revoker waits for the request", || {
        if let Some(name) = names.next() {
            fs::remove_file(below.join(name)).unwrap();
        }
        revoker_waits(&format!("/proc/{pid}/task"))
    });
    mount.the_daemon().signal(Signal::SIGKILL);
    let error = waiting.join().unwrap().expect_err("no daemon");
    let errno = error.raw_os_error().unwrap();
    // EINTR if it was just being copied to the daemon: that ends where a page is missing (`__get_user_pages`, mm/gup.c).
    let told = ENDED.contains(&errno) || errno == Errno::EINTR as i32;
    assert!(told, "{error}");
    mount.the_daemon().wait();
    // What the kernel has been told it still believes.
    let error = fs::metadata(above.join("new")).expect_err("no daemon");
    assert!(ENDED.contains(&error.raw_os_error().unwrap()), "{error}");
    mount.abandon();
}

/// A queue's thread that has ended takes no request any more. What comes then, before anybody ends the mount, has
/// an end with it.
fn a_request_that_comes_after_the_kill_has_an_end(variant: Variant) {
    let builder = TestMount::builder(variant).args(&["--lower-delay", "60s:slow*"]);
    let mut mount = builder.mount();
    let (above, below) = (mount.path().to_owned(), mount.lower().to_owned());
    fs::write(below.join("known"), "").unwrap();
    fs::metadata(above.join("known")).unwrap();
    let place = above.clone();
    let holds_the_lock = thread::spawn(move || fs::metadata(place.join("slow")));
    let tasks = format!("/proc/{}/task", mount.the_daemon().pid());
    let mut number = 0;
    wait_until("the revoker waits for the request", || {
        number += 1;
        let name = format!("known{number}");
        // What has just been looked up is what there is to revoke, unless the lock is held by now.
        fs::write(below.join(&name), "").unwrap();
        fs::rename(below.join(&name), below.join("known")).unwrap();
        revoker_waits(&tasks)
    });
    mount.the_daemon().signal(Signal::SIGKILL);
    wait_until("the queues' threads have gone", || {
        !names_of(&tasks)
            .iter()
            .any(|name| name.starts_with("shmfuse-q"))
    });
    // No lock is needed for this, and nothing of it is remembered.
    let errno = statvfs(&above).expect_err("no daemon");
    assert!(ENDED.contains(&(errno as i32)), "{errno}");
    holds_the_lock.join().unwrap().expect_err("no daemon");
    mount.the_daemon().wait();
    mount.abandon();
}

/// The names of a process's threads.
fn names_of(tasks: &str) -> Vec<String> {
    let tasks = fs::read_dir(tasks).expect("the daemon's threads");
    let names = tasks
        .flatten()
        .map(|task| fs::read_to_string(task.path().join("comm")));
    names.filter_map(Result::ok).collect()
}

/// Whether the thread that revokes is in a sleep that no signal ends.
fn revoker_waits(tasks: &str) -> bool {
    let tasks = fs::read_dir(tasks).expect("the daemon's threads");
    tasks.flatten().any(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.contains("(shmfuse-revoke) D")
    })
}

fn the_undertaker_has_what_aborts_and_goes_with_the_daemon(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let pid = mount.the_daemon().pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let process = undertaker(&children);
    let process = process.as_path();
    let status = fs::read_to_string(process.join("status")).unwrap();
    for none in ["CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(none), "{none}: {status}");
    }
    let abort = format!("/{}/abort", mount.connection());
    let known = [abort.as_str(), "/dev/null", "anon_inode:[pidfd]", "pidfd:"];
    // Who runs the test may have passed on descriptors of its own.
    let inherited = descriptors(Path::new("/proc/self"));
    wait_until("it has let go of the pipe that said it was ready", || {
        descriptors(process).iter().all(|target| {
            known.iter().any(|known| target.starts_with(known)) || inherited.contains(target)
        })
    });
    mount.finish();
    assert!(!process.exists());
}

/// The one of the `children` that is the undertaker: what asked the mount whether it answers may still be there.
fn undertaker(children: &str) -> PathBuf {
    let mut processes = children
        .split_whitespace()
        .map(|child| Path::new("/proc").join(child));
    let is_undertaker = |process: &PathBuf| {
        let words = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        words.split('\0').nth(1) == Some("undertaker")
    };
    processes.find(is_undertaker).expect("an undertaker")
}

/// What the descriptors of a process refer to.
fn descriptors(process: &Path) -> Vec<String> {
    let descriptors = fs::read_dir(process.join("fd")).expect("its descriptors");
    let targets = descriptors
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    targets
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}

for_every_coherent_variant!(
    on_variant,
    [
        a_daemon_that_is_killed_while_it_revokes_leaves_nobody_hanging,
        a_request_that_comes_after_the_kill_has_an_end,
    ]
);

variant_tests!(
    undertaker,
    Variant::SHM_PASSTHROUGH.coherent(),
    on_variant,
    [the_undertaker_has_what_aborts_and_goes_with_the_daemon]
);
