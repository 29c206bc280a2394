//! What ends a test that hangs, and says where it hung.
//!
//! A request that is never answered leaves its application in uninterruptible sleep, and the test
//! waiting for it would wait for good. The watchdog is a thread that, when the time is up, prints
//! where every process that waits is, aborts the connections of this test's own mounts
//! (`MNT_FORCE`), which wakes them, kills this test's own daemons, and aborts the test.

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    env,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::evidence;

/// A wait of this length is told of.
const LONG: Duration = Duration::from_secs(60);
/// A wait of this length has failed.
const VAIN: Duration = Duration::from_secs(180);

/// What the watchdog of any test of this process has to take down.
#[derive(Debug)]
struct Wards {
    mountpoints: BTreeSet<PathBuf>,
    daemons: BTreeSet<i32>,
    logs: BTreeSet<PathBuf>,
}

static WARDS: Mutex<Wards> = Mutex::new(Wards {
    mountpoints: BTreeSet::new(),
    daemons: BTreeSet::new(),
    logs: BTreeSet::new(),
});

fn wards() -> MutexGuard<'static, Wards> {
    WARDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names a mountpoint that is to be forced off if the test hangs.
pub fn guard_mountpoint(path: &Path) {
    wards().mountpoints.insert(path.into());
}

/// The mountpoint is unmounted.
pub fn release_mountpoint(path: &Path) {
    wards().mountpoints.remove(path);
}

/// Names a daemon that is to be killed if the test hangs, and its log.
pub fn guard_daemon(pid: u32, log: &Path) {
    let mut wards = wards();
    wards
        .daemons
        .insert(i32::try_from(pid).expect("a process id"));
    wards.logs.insert(log.into());
}

/// The daemon has ended and was waited for.
pub fn release_daemon(pid: u32, log: &Path) {
    let mut wards = wards();
    wards
        .daemons
        .remove(&i32::try_from(pid).expect("a process id"));
    wards.logs.remove(log);
}

/// Ends the test when it takes too long; dropping it calls it off.
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Starts to watch.
    pub fn start(test: &str, limit: Duration) -> Self {
        let (alive, watched) = channel::<()>();
        let test = test.to_owned();
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    give_up(&test, limit);
                }
            })
            .expect("a thread for the watchdog");
        Self { _alive: alive }
    }
}

/// Notes a hang where `cargo xtask test` looks for it (`SHMFUSE_HANG_LOG`): it fails the run even though the test holds
/// when it is run again.
fn note_hang(what: &str) {
    if let Some(path) = env::var_os("SHMFUSE_HANG_LOG") {
        let log = OpenOptions::new().append(true).create(true).open(path);
        // Who reads it has this test's failure, too.
        let _ = log.and_then(|mut log| writeln!(log, "HUNG: {what}"));
    }
}

fn give_up(test: &str, limit: Duration) -> ! {
    note_hang(&format!("{test} was not done after {} s", limit.as_secs()));
    eprintln!("WATCHDOG: {test} is not done after {} s", limit.as_secs());
    eprint!("{}", evidence_so_far());
    let wards = wards();
    for mountpoint in &wards.mountpoints {
        take_down(mountpoint);
    }
    for &daemon in &wards.daemons {
        let _ = kill(Pid::from_raw(daemon), Signal::SIGKILL);
    }
    process::abort();
}

/// Unmounts whatever it takes: aborts the connection of a FUSE mount, and detaches it.
pub fn take_down(mountpoint: &Path) {
    let _ = umount2(mountpoint, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
    let _ = umount2(mountpoint, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
}

/// What can be seen of what this test waits for ([`evidence`]).
pub fn evidence_so_far() -> String {
    // Not held while `shmfuse stat` runs: who waits beside us may have to name a daemon.
    let (daemons, mountpoints, logs) = {
        let wards = wards();
        (
            wards.daemons.clone(),
            wards.mountpoints.clone(),
            wards.logs.clone(),
        )
    };
    evidence::all(&daemons, &mountpoints, &logs)
}

/// Waits until `holds` does. After a minute what can be seen is printed, and after three it is printed again and the
/// test fails: a machine under load may be that slow, and what moves between the two is no hang.
/// `what` names what never came.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut told = false;
    while !holds() {
        let waited = start.elapsed();
        if waited > VAIN {
            let seconds = waited.as_secs();
            note_hang(&format!("waited {seconds} s in vain until {what}"));
            panic!(
                "waited {seconds} s in vain until {what}\n{}",
                evidence_so_far()
            );
        }
        if waited > LONG && !told {
            told = true;
            eprintln!(
                "a minute has gone, and not yet {what}\n{}",
                evidence_so_far()
            );
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    if told {
        eprintln!("{what}, after {} s", start.elapsed().as_secs());
    }
}
