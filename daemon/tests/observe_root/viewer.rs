//! A command that looks at a mount while a test works on it.

use crate::common::{Daemon, TestMount, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// It is killed when dropped.
pub struct Viewer {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    _dir: TempDir,
}

impl Viewer {
    /// Starts `shmfuse COMMAND MOUNTPOINT ARGS`, and waits until it says `ready` on its stderr.
    pub fn start(mount: &TestMount, command: &str, args: &[&str], ready: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (out, err) = (dir.path().join("out"), dir.path().join("err"));
        let create = |path: &PathBuf| File::create(path).expect("a file");
        let child = Command::new(Daemon::program())
            .arg(command)
            .arg(mount.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(create(&out))
            .stderr(create(&err))
            .spawn()
            .expect("the viewer");
        let mut viewer = Self {
            child,
            out,
            err,
            _dir: dir,
        };
        wait_until("the viewer looks", || {
            let said = viewer.said();
            let ended = viewer.child.try_wait().expect("its status");
            assert!(ended.is_none(), "it ended with {ended:?}: {said}");
            said.contains(ready)
        });
        viewer
    }

    /// What it wrote to stderr so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.err).expect("its stderr")
    }

    /// What it wrote to stdout so far.
    pub fn shown(&self) -> String {
        fs::read_to_string(&self.out).expect("its stdout")
    }

    /// Interrupts it, and returns what it has shown in all.
    pub fn stop(mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGINT).expect("a signal");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}: {}", self.said());
        self.shown()
    }

    /// Waits until it ends by itself, and returns what it has shown in all.
    pub fn wait(mut self) -> String {
        wait_until("the viewer has ended", || {
            self.child.try_wait().expect("its status").is_some()
        });
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}: {}", self.said());
        self.shown()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // Gone already where a test has waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
