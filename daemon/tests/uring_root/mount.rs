//! A mount of the test file system in a directory of its own, taken down whatever happens.

use super::fs::TestFs;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use shmfuse::{
    config::{Config, TransportChoice, TransportKind},
    error::Result,
    fuse::{Device, Session},
    select,
    serve::{self, Server},
};
use std::{
    io::{self, Write},
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};
use tempfile::TempDir;

/// A test that takes longer hangs.
const WATCHDOG: Duration = Duration::from_secs(120);

/// Where it is mounted. Dropping it aborts the connection.
#[derive(Debug)]
pub struct Mountpoint(TempDir);

impl Mountpoint {
    /// A directory of its own, in a mount namespace of its own: a copy of the mount in somebody
    /// else's would keep it alive after it is unmounted here. Processes that the calling thread
    /// starts are in the same one.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        Self(tempfile::tempdir().expect("tempdir"))
    }

    /// Waits until another process serves the mount.
    pub fn wait_until_served(&self) {
        for _ in 0..1000 {
            if self.path("d0").exists() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} is not served", self.0.path().display());
    }

    /// The path of `name` in the mount.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// umount(2) with `flags`.
    pub fn unmount(&self, flags: MntFlags) {
        umount2(self.0.path(), flags).expect("umount2");
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        // MNT_FORCE aborts the connection, so that nobody is left waiting; either may fail because
        // the test has unmounted already.
        let _ = umount2(self.0.path(), MntFlags::MNT_FORCE);
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// A mount being served by this process.
#[derive(Debug)]
pub struct Mounted {
    pub at: Mountpoint,
    pub fs: Arc<TestFs>,
    pub session: Arc<Session>,
    served: JoinHandle<Result<()>>,
    _watchdog: Watchdog,
}

/// How a test mounts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub kind: TransportKind,
    pub depth: usize,
    pub delay: Duration,
}

impl Options {
    /// Four entries per queue, and no delay.
    pub fn of(kind: TransportKind) -> Self {
        Self {
            kind,
            depth: 4,
            delay: Duration::ZERO,
        }
    }
}

impl Mounted {
    /// Mounts and serves.
    pub fn new(options: Options) -> Self {
        let at = Mountpoint::new();
        let watchdog = Watchdog::new(at.0.path());
        let fs = Arc::new(TestFs::new(options.delay));
        let server = serve_at(at.0.path(), Arc::clone(&fs), options).expect("the mount is served");
        let session = Arc::clone(server.session());
        let served = thread::spawn(move || server.wait());
        Self {
            at,
            fs,
            session,
            served,
            _watchdog: watchdog,
        }
    }

    /// Waits until every serving thread has ended.
    pub fn wait(self) -> Result<()> {
        self.served.join().expect("Server::wait does not panic")
    }

    /// Unmounts an idle mount, and expects a clean end.
    pub fn finish(self) {
        self.at.unmount(MntFlags::empty());
        self.wait().expect("a clean end");
    }
}

/// Mounts at `mountpoint` and starts the transport.
pub fn serve_at(mountpoint: &Path, fs: Arc<TestFs>, options: Options) -> Result<Server> {
    select::uring().map_err(select::Lack::into_error)?;
    let device = Device::open()?;
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        device.as_fd().as_raw_fd()
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("uring_root"),
        mountpoint,
        Some("fuse"),
        flags,
        Some(data.as_str()),
    )
    .expect("mount(2)");
    let config = Config {
        transport: TransportChoice::Only(options.kind),
        threads: 4,
        queue_depth: options.depth,
        max_background: 64,
        ..Config::plain("/", mountpoint)
    };
    let session = Session::handshake(device, fs, Arc::new(config), options.kind)?;
    serve::start(session)
}

/// Aborts the mount, and the process, if a test hangs: a failure that is seen is better than one
/// that blocks the machine.
#[derive(Debug)]
struct Watchdog {
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    fn new(mountpoint: &Path) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let mountpoint = mountpoint.to_path_buf();
        thread::spawn(move || {
            if ended.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Past the capture of the test's output, which ends with the process.
                let place = mountpoint.display();
                let _ = writeln!(
                    io::stderr(),
                    "the test hangs; {place} is aborted\n{}",
                    waits()
                );
                let _ = umount2(&mountpoint, MntFlags::MNT_FORCE);
                let _ = umount2(&mountpoint, MntFlags::MNT_DETACH);
                std::process::exit(101);
            }
        });
        Self { _alive: alive }
    }
}

/// Where each thread of this process waits in the kernel.
fn waits() -> String {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let line = |task: std::path::PathBuf| {
        let read = |name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
        format!(
            "{} {} {}\n",
            read("comm").trim(),
            read("wchan"),
            read("syscall").trim()
        )
    };
    tasks.flatten().map(|task| line(task.path())).collect()
}
