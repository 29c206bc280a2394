//! The daemon's process: its log, its descriptors, its end.

use super::watchdog::{self, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// Bytes of a log shown when a test fails.
const LOG_TAIL: usize = 8 << 10;

/// A daemon in the foreground (`shmfuse mount -f`), its log in a file.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// The program under test.
    pub fn program() -> &'static str {
        env!("CARGO_BIN_EXE_shmfuse")
    }

    /// Starts `command` with its output going to `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let output = File::create(log).expect("a file for the daemon's log");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the log again"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        watchdog::guard_daemon(child.id(), log);
        Self {
            child,
            log: log.into(),
            ended: None,
        }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll().is_none() {
            kill(self.pid(), signal).expect("a signal to the daemon");
        }
    }

    /// Stops it, and waits until it stands still: a thread that was woken by a request before it was stopped still
    /// takes that request, however long it waits for a processor.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        wait_until("all threads of the daemon stand still", || {
            let tasks = fs::read_dir(&tasks).expect("the daemon's threads");
            tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // io_uring's poll threads (iou-sqp-N) stop where they next look for work.
                stat.is_empty() || stat.contains(") T") || stat.contains("(iou-")
            })
        });
    }

    /// How it ended, if it has.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the daemon's status");
            if self.ended.is_some() {
                watchdog::release_daemon(self.child.id(), &self.log);
            }
        }
        self.ended
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("the daemon has ended", || self.poll().is_some());
        self.ended.expect("it has ended")
    }

    /// Waits for its end, and fails the test unless it ended as one that did its work: status 0,
    /// no error in its log.
    pub fn expect_clean_end(&mut self) {
        let status = self.wait();
        let log = self.log();
        assert!(
            status.success(),
            "the daemon ended with {status} (signal {:?}); its log:\n{log}",
            status.signal()
        );
        assert_no_complaint(&log);
    }

    /// What the file system holds by its own account (SIGUSR1): `inodes`, `files` and so on.
    pub fn holdings(&self) -> BTreeMap<String, u64> {
        let lines = |log: &str| -> Vec<String> {
            let lines = log.lines().filter(|line| line.contains("inodes="));
            lines.map(str::to_owned).collect()
        };
        let before = lines(&self.log()).len();
        kill(self.pid(), Signal::SIGUSR1).expect("a signal to the daemon");
        wait_until("the daemon has logged what it holds", || {
            lines(&self.log()).len() > before
        });
        lines(&self.log())[before]
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = self.proc("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS of the daemon");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS");
        kib << 10
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the daemon's descriptors")
            .count()
    }

    /// Memory mappings.
    pub fn mappings(&self) -> usize {
        self.proc("maps").lines().count()
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid()))
            .unwrap_or_else(|error| panic!("/proc/{}/{name}: {error}", self.pid()))
    }

    /// Kills it, whatever it does.
    pub fn kill(&mut self) {
        if self.poll().is_none() {
            let _ = kill(self.pid(), Signal::SIGKILL);
            wait_until("the killed daemon is gone", || self.poll().is_some());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the kernel drop every inode nobody uses, until the daemon knows `left`.
pub fn wait_for_inodes(daemon: &Daemon, left: u64) {
    wait_until("the daemon has forgotten what the kernel dropped", || {
        fs::write("/proc/sys/vm/drop_caches", "2").expect("dropping caches");
        daemon.holdings()["inodes"] == left
    });
}

/// What a correct run never logs.
const COMPLAINTS: [&str; 3] = ["ERROR", "panicked at", "a wake-up was lost"];

/// Fails the test if the log holds an error, a panic, or a lost wake-up.
pub fn assert_no_complaint(log: &str) {
    let complaint = log
        .lines()
        .find(|line| COMPLAINTS.iter().any(|what| line.contains(what)));
    assert!(complaint.is_none(), "the daemon complained:\n{log}");
}

/// The end of a log.
pub fn log_tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL)..]).into_owned()
}
