//! Work that goes on in the background until told to stop.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::watchdog::wait_until;

/// Scripts that each repeat some work in a directory for good and end at their first failure.
/// Each has a directory of its own name to work in, and counts its rounds in `$rounds`.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "small-files",
        "for i in 1 2 3 4 5 6 7 8; do echo $i >f$i; done; cat f* >/dev/null
         mv f1 g1; ln g1 h1; rm f* g1 h1",
    ),
    (
        "large-file",
        "dd if=/dev/zero of=large bs=64k count=64 status=none; cmp -n 4194304 large /dev/zero
         truncate -s 1000 large; dd if=large of=/dev/null bs=1k status=none; rm large",
    ),
    (
        "directories",
        "mkdir -p a/b/c/d; touch a/b/c/d/{1..50}; test $(find a -type f | wc -l) = 50; rm -r a",
    ),
    (
        "appends",
        "for i in {1..50}; do echo line $i >>log; done; test $(wc -l <log) = 50; rm log",
    ),
];

/// Processes at work.
#[derive(Debug)]
pub struct Load {
    workers: Vec<(&'static str, Child)>,
    rounds: tempfile::TempDir,
}

impl Load {
    /// Starts every kind of work below `dir`.
    pub fn start(dir: &Path) -> Self {
        let rounds = super::mount::temp_dir(super::LowerFs::Disk);
        let workers = SCRIPTS
            .iter()
            .map(|&(name, script)| {
                let place = dir.join(name);
                std::fs::create_dir_all(&place).expect("a directory to work in");
                let rounds = rounds.path().join(name);
                let script = format!(
                    "stop=; trap stop=1 TERM; until [ $stop ]; do\n{script}\n echo >>{}\n done",
                    rounds.display()
                );
                let child = Command::new("bash")
                    .args(["-euo", "pipefail", "-c", &script])
                    .current_dir(&place)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(std::fs::File::create(rounds.with_extension("err")).expect("a file"))
                    .spawn()
                    .expect("bash");
                (name, child)
            })
            .collect();
        Self { workers, rounds }
    }

    /// Rounds that each kind of work has done.
    pub fn rounds(&self) -> Vec<(&'static str, u64)> {
        self.workers
            .iter()
            .map(|(name, _)| {
                let done = std::fs::metadata(self.rounds.path().join(name));
                (*name, done.map_or(0, |done| done.len()))
            })
            .collect()
    }

    /// Waits until each kind of work has done so many rounds.
    pub fn wait_for_rounds(&mut self, rounds: u64) {
        wait_until("every kind of work has gone its rounds", || {
            self.assert_working();
            self.rounds().iter().all(|&(_, done)| done >= rounds)
        });
    }

    /// Lets it work for so long.
    pub fn work_for(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.assert_working();
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Fails the test if a worker has met an error.
    pub fn assert_working(&mut self) {
        for (name, child) in &mut self.workers {
            let ended = child.try_wait().expect("a worker's status");
            let said = std::fs::read_to_string(self.rounds.path().join(format!("{name}.err")));
            assert!(ended.is_none(), "{name} ended with {ended:?}: {said:?}");
        }
    }

    /// Lets each worker finish its round, and fails the test if one meets an error doing so.
    pub fn stop(mut self) {
        self.assert_working();
        for (_, child) in &self.workers {
            let pid = i32::try_from(child.id()).expect("a process id");
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).expect("a signal");
        }
        for (name, mut child) in std::mem::take(&mut self.workers) {
            let status = child.wait().expect("a worker's end");
            let said = std::fs::read_to_string(self.rounds.path().join(format!("{name}.err")));
            assert!(status.success(), "{name} ended with {status}: {said:?}");
        }
    }

    /// Waits until every worker has ended by itself, however.
    pub fn wait_for_end(mut self) {
        for (name, child) in &mut self.workers {
            wait_until(&format!("{name} has ended"), || {
                child.try_wait().expect("a worker's status").is_some()
            });
        }
        self.workers.clear();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for (_, child) in &mut self.workers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
