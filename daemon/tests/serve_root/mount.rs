//! A mount of the tests' file system by mount(2), with a watchdog.

use crate::echo::Echo;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use shmfuse::{
    config::{Config, TransportChoice, TransportKind},
    fuse::{Device, Session},
    serve::{self, Server},
};
use std::{
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Longer than anything here takes on a machine that works, however busy it is. Then the
/// connection is aborted, and whatever hangs on it fails.
const WATCHDOG: Duration = Duration::from_secs(120);

/// A mount, served by this process.
pub struct Mount {
    pub fs: Arc<Echo>,
    pub session: Arc<Session>,
    server: Option<Server>,
    dir: TempDir,
    _watchdog: mpsc::Sender<()>,
}

impl Mount {
    /// Mounts and serves.
    pub fn new(kind: TransportKind) -> Self {
        Self::with(kind, |_| {})
    }

    /// Mounts and serves with a configuration changed by `change`.
    pub fn with(kind: TransportKind, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (lower, mountpoint) = (dir.path().join("lower"), dir.path().join("mnt"));
        std::fs::write(&lower, "").expect("the lower file");
        std::fs::create_dir(&mountpoint).expect("the mountpoint");
        let mut config = Config {
            transport: TransportChoice::Only(kind),
            threads: 3,
            queue_depth: 4,
            ..Config::plain(dir.path(), &mountpoint)
        };
        change(&mut config);

        let device = Device::open().expect("/dev/fuse");
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_fd().as_raw_fd()
        );
        mount(
            Some("serve-test"),
            &mountpoint,
            Some("fuse"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )
        .expect("mount(2)");
        let watchdog = watch(mountpoint);
        let fs = Arc::new(Echo::new(&lower));
        let session =
            Session::handshake(device, Arc::clone(&fs) as _, Arc::new(config), kind).expect("INIT");
        let server = serve::start(Arc::clone(&session)).expect("the threads start");
        Self {
            fs,
            session,
            server: Some(server),
            dir,
            _watchdog: watchdog,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// The lower file.
    pub fn lower(&self) -> PathBuf {
        self.dir.path().join("lower")
    }

    /// Aborts the connection.
    pub fn abort(&self) {
        umount2(&self.path(), MntFlags::MNT_FORCE).ok();
    }

    /// Waits until every serving thread has ended.
    pub fn wait(&mut self) {
        let server = self.server.take().expect("waited for once");
        server.wait().expect("the threads end without an error");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        umount2(&self.path(), MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).ok();
        if let Some(server) = self.server.take() {
            server.wait().ok();
        }
    }
}

fn watch(mountpoint: PathBuf) -> mpsc::Sender<()> {
    let (alive, watched) = mpsc::channel();
    thread::spawn(move || {
        if watched.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the watchdog aborts {}", mountpoint.display());
            umount2(&mountpoint, MntFlags::MNT_FORCE).ok();
        }
    });
    alive
}
