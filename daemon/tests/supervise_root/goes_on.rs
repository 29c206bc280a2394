//! The successor goes on where the daemon died, and nobody notices: on classic.

use super::{daemon_of, kill_daemon_of, supervised};
use crate::common::{TestMount, Tree, Variant, assert_same, bash, load::Load, wait_until};
use nix::sys::signal::{Signal, kill};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    thread,
    time::Duration,
};

/// Daemons that are killed in a test: fewer than the supervisor mends within a minute.
const KILLS: usize = 4;

/// Kills the daemon, and waits for the next one.
fn replace(mount: &mut TestMount) {
    let supervisor = mount.the_daemon();
    let serves = |log: &str| log.matches("serves in its place").count();
    let before = serves(&supervisor.log());
    kill_daemon_of(supervisor);
    wait_until("another daemon serves", || {
        serves(&supervisor.log()) > before
    });
}

/// Fails the test if a successor mounted anew.
fn expect_one_mount(mount: &mut TestMount) {
    let log = mount.the_daemon().log();
    assert!(!log.contains("nobody can go on"), "{log}");
}

fn work_goes_on_while_daemons_are_killed(variant: Variant) {
    let mut mount = supervised(variant);
    let mut load = Load::start(mount.path());
    load.wait_for_rounds(1);
    for _ in 0..KILLS {
        replace(&mut mount);
        load.work_for(Duration::from_millis(300));
    }
    let more = load.rounds().iter().map(|(_, rounds)| rounds + 1).max();
    load.wait_for_rounds(more.unwrap_or(1).min(6));
    load.stop();
    expect_one_mount(&mut mount);
    mount.finish();
}

fn a_daemon_that_dies_before_it_serves_is_replaced_as_any_other(variant: Variant) {
    let mut mount = TestMount::builder(variant)
        .args(&["--supervise", "--lower-delay", "200ms"])
        .mount();
    wait_for_log(&mut mount, "mounted on");
    let mut open = File::create(mount.path().join("file")).unwrap();
    let supervisor = mount.the_daemon();
    let dead = kill_daemon_of(supervisor);
    wait_until("there is another daemon", || {
        daemon_of(supervisor).is_some_and(|daemon| daemon != dead)
    });
    // It takes 400 ms to find that its mount answers.
    thread::sleep(Duration::from_millis(150));
    kill_daemon_of(supervisor);
    wait_for_log(&mut mount, "serves in its place");
    open.write_all(b"goes on").unwrap();
    drop(open);
    assert_eq!(fs::read(mount.lower().join("file")).unwrap(), b"goes on");
    expect_one_mount(&mut mount);
    mount.finish();
}

fn wait_for_log(mount: &mut TestMount, what: &str) {
    let supervisor = mount.the_daemon();
    wait_until(what, || supervisor.log().contains(what));
}

fn what_is_packed_unpacked_and_summed_meanwhile_is_whole(variant: Variant) {
    let mut mount = supervised(variant);
    bash(
        mount.plain(),
        "for d in a b c; do mkdir -p $d/e; for i in {1..40}; do
             head -c $((RANDOM * 3)) /dev/urandom >$d/e/f$i; ln $d/e/f$i $d/l$i; ln -s e/f$i $d/s$i
         done; done",
    );
    let (from, to) = (mount.plain().to_owned(), mount.path().join("copy"));
    fs::create_dir(&to).unwrap();
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            let script = format!(
                "for round in 1 2 3; do rm -rf {0}/*; tar -C {1} -cf - . | tar -C {0} -xf -
                     diff <(cd {1}; find -type f | sort | xargs sha256sum) \
                          <(cd {0}; find -type f | sort | xargs sha256sum)
                 done",
                to.display(),
                from.display()
            );
            bash(&from, &script);
        });
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(200));
            replace(&mut mount);
        }
        work.join().expect("nothing is lost");
    });
    let (got, expected) = (Tree::of(&to), Tree::of(mount.plain()));
    assert_same("unpacked", &got, &expected);
    expect_one_mount(&mut mount);
    mount.finish();
}

fn each_line_that_is_appended_and_synced_is_there_once(variant: Variant) {
    let mut mount = supervised(variant);
    let path = mount.path().join("log");
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for number in 0..2000 {
                writeln!(log, "{number:08}").unwrap();
                log.sync_data().unwrap();
            }
        });
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(150));
            replace(&mut mount);
        }
        writer.join().expect("each append succeeds");
    });
    let expected: String = (0..2000).map(|number| format!("{number:08}\n")).collect();
    let text = fs::read_to_string(mount.lower().join("log")).unwrap();
    assert!(
        text == expected,
        "{} bytes of {}",
        text.len(),
        expected.len()
    );
    expect_one_mount(&mut mount);
    mount.finish();
}

fn what_is_open_stays_open(variant: Variant) {
    let mut mount = supervised(variant);
    let dir = mount.path().join("dir");
    fs::create_dir(&dir).unwrap();
    for number in 0..300 {
        fs::write(dir.join(format!("{number}")), "x").unwrap();
    }
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true);
        options.open(mount.path().join(name)).unwrap()
    };
    let mut plain = open("plain");
    plain.write_all(b"before ").unwrap();
    let mut gone = open("gone");
    gone.write_all(b"no name").unwrap();
    fs::remove_file(mount.path().join("gone")).unwrap();
    let locked = open("locked");
    let other = open("locked");
    locked.try_lock().expect("a lock of flock(2)");
    let listing = rustix::fs::openat(
        rustix::fs::CWD,
        &dir,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    );
    let mut listing = rustix::fs::Dir::new(listing.unwrap()).unwrap();
    let mut names: Vec<_> = listing
        .by_ref()
        .take(20)
        .map(|entry| entry.unwrap())
        .collect();
    for _ in 0..2 {
        replace(&mut mount);
    }
    plain.write_all(b"after").unwrap();
    plain.sync_all().unwrap();
    assert_eq!(
        fs::read(mount.lower().join("plain")).unwrap(),
        b"before after"
    );
    gone.rewind().unwrap();
    let mut text = String::new();
    gone.read_to_string(&mut text).unwrap();
    assert_eq!(text, "no name");
    gone.write_all_at(b"at all", 3).unwrap();
    other.try_lock().expect_err("it is locked");
    drop(locked);
    wait_until("RELEASE has come", || other.try_lock().is_ok());
    names.extend(listing.map(|entry| entry.unwrap()));
    let mut names: Vec<_> = names
        .iter()
        .map(|entry| entry.file_name().to_owned())
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), all), (302, 302));
    drop((plain, gone, other));
    expect_one_mount(&mut mount);
    // Nothing is left of what was open.
    let holdings = holdings(&mut mount);
    assert!(holdings.contains("files=0 directories=0"), "{holdings}");
    mount.finish();
}

/// What the daemon says it holds, when it holds no file any more.
fn holdings(mount: &mut TestMount) -> String {
    let supervisor = mount.the_daemon();
    let daemon = daemon_of(supervisor).expect("a daemon");
    let mut last = String::new();
    wait_until("files are released", || {
        kill(daemon, Signal::SIGUSR1).expect("a signal");
        let log = supervisor.log();
        let line = log.lines().rfind(|line| line.contains("holding inodes="));
        last = line.unwrap_or_default().to_owned();
        last.contains("files=0 directories=0")
    });
    last
}

fn who_has_locks_of_fcntl_loses_the_mount_and_is_told(variant: Variant) {
    let mut mount = supervised(variant);
    let file = File::create(mount.path().join("file")).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&lock)).expect("a lock");
    replace(&mut mount);
    (&file).write_all(b"x").expect_err("the lock is lost");
    drop(file);
    bash(mount.path(), "echo y >file; test $(cat file) = y");
    assert!(mount.the_daemon().log().contains("nobody can go on"));
    mount.finish();
}

variant_tests!(
    classic_copy,
    Variant::CLASSIC_COPY,
    on_variant,
    [
        a_daemon_that_dies_before_it_serves_is_replaced_as_any_other,
        work_goes_on_while_daemons_are_killed,
        what_is_packed_unpacked_and_summed_meanwhile_is_whole,
        each_line_that_is_appended_and_synced_is_there_once,
        what_is_open_stays_open,
        who_has_locks_of_fcntl_loses_the_mount_and_is_told,
    ]
);
variant_tests!(
    classic_passthrough,
    Variant::CLASSIC_PASSTHROUGH,
    on_variant,
    [
        what_is_packed_unpacked_and_summed_meanwhile_is_whole,
        what_is_open_stays_open,
    ]
);
