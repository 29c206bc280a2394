//! A mounted temporary directory that cleans up after itself.

use super::{
    Daemon, Variant,
    watchdog::{self, wait_until},
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};
use tempfile::TempDir;

/// What the lower directory lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LowerFs {
    /// A disk: the directory named by `SHMFUSE_TEST_DIR`, or `/var/tmp`.
    Disk,
    /// tmpfs, `/dev/shm`.
    Memory,
}

impl LowerFs {
    fn base(self) -> PathBuf {
        match self {
            Self::Disk => env::var_os("SHMFUSE_TEST_DIR").map_or("/var/tmp".into(), PathBuf::from),
            Self::Memory => "/dev/shm".into(),
        }
    }
}

/// A new directory that every user can pass through.
pub fn temp_dir(lower_fs: LowerFs) -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("shmfuse-test-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(lower_fs.base())
        .expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    dir
}

/// What a mount is to be made with.
#[derive(Debug)]
pub struct MountBuilder {
    variant: Variant,
    lower_fs: LowerFs,
    args: Vec<String>,
    descriptor_limit: Option<u32>,
    lower: Option<PathBuf>,
    plain: Option<PathBuf>,
    mountpoint: Option<PathBuf>,
    daemon: Option<Command>,
}

impl MountBuilder {
    /// This command in place of `shmfuse mount`; it knows by itself what to mount where.
    pub fn daemon(mut self, command: Command) -> Self {
        self.daemon = Some(command);
        self
    }

    /// Further options of `shmfuse mount`.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Where the lower directory lies.
    pub fn lower_fs(mut self, lower_fs: LowerFs) -> Self {
        self.lower_fs = lower_fs;
        self
    }

    /// This lower directory in place of a new one.
    pub fn lower(mut self, path: &Path) -> Self {
        self.lower = Some(path.into());
        self
    }

    /// This plain directory in place of a new one.
    pub fn plain(mut self, path: &Path) -> Self {
        self.plain = Some(path.into());
        self
    }

    /// This mountpoint in place of a new directory.
    pub fn mountpoint(mut self, path: &Path) -> Self {
        self.mountpoint = Some(path.into());
        self
    }

    /// `ulimit -n` of the daemon, soft and hard.
    pub fn descriptor_limit(mut self, limit: u32) -> Self {
        self.descriptor_limit = Some(limit);
        self
    }

    /// Mounts, and waits until the mount answers.
    pub fn mount(self) -> TestMount {
        self.try_mount()
            .unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// The same, with the daemon's last words if it refuses.
    ///
    /// # Errors
    ///
    /// The daemon's status and log when it ends before the mount answers.
    pub fn try_mount(self) -> Result<TestMount, String> {
        let root = temp_dir(self.lower_fs);
        let lower = self.lower.unwrap_or_else(|| root.path().join("lower"));
        let mountpoint = self.mountpoint.unwrap_or_else(|| root.path().join("mnt"));
        let plain = self.plain.unwrap_or_else(|| root.path().join("plain"));
        for dir in [&lower, &mountpoint, &plain] {
            fs::create_dir_all(dir).expect("a directory of the test");
        }
        watchdog::guard_mountpoint(&mountpoint);
        let mut made = TestMount {
            lower,
            mountpoint,
            plain,
            variant: self.variant,
            daemon: None,
            finished: false,
            root,
        };
        if self.variant == Variant::Native {
            let none = None::<&str>;
            mount(
                Some(&made.lower),
                &made.mountpoint,
                none,
                MsFlags::MS_BIND,
                none,
            )
            .expect("a bind mount");
            return Ok(made);
        }
        if let Some(command) = self.daemon {
            made.daemon = Some(Daemon::spawn(command, &made.root.path().join("log")));
            made.wait_for_answer()?;
            return Ok(made);
        }
        let mut command = match self.descriptor_limit {
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command
                    .arg(format!("--nofile={limit}:{limit}"))
                    .arg(Daemon::program());
                command
            }
            None => Command::new(Daemon::program()),
        };
        command.args(["mount", "-f", "-o", "allow_other"]);
        command.args(self.variant.args()).args(&self.args);
        command.arg(&made.lower).arg(&made.mountpoint);
        made.daemon = Some(Daemon::spawn(command, &made.root.path().join("log")));
        made.wait_for_answer()?;
        Ok(made)
    }
}

/// A mounted temporary directory. [`finish`](Self::finish) unmounts and checks; dropping cleans
/// up without checks when the test has failed already.
#[derive(Debug)]
pub struct TestMount {
    lower: PathBuf,
    mountpoint: PathBuf,
    plain: PathBuf,
    variant: Variant,
    daemon: Option<Daemon>,
    finished: bool,
    root: TempDir,
}

impl TestMount {
    /// Mounts a new directory on disk.
    pub fn new(variant: Variant) -> Self {
        Self::builder(variant).mount()
    }

    /// Says how to mount.
    pub fn builder(variant: Variant) -> MountBuilder {
        MountBuilder {
            variant,
            lower_fs: LowerFs::Disk,
            args: Vec::new(),
            descriptor_limit: None,
            lower: None,
            plain: None,
            mountpoint: None,
            daemon: None,
        }
    }

    /// The mountpoint.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// The lower directory.
    pub fn lower(&self) -> &Path {
        &self.lower
    }

    /// A plain directory on the same file system as the lower one: for what is compared with.
    pub fn plain(&self) -> &Path {
        &self.plain
    }

    /// A directory of the test for everything else.
    pub fn scratch(&self) -> &Path {
        self.root.path()
    }

    /// How it is mounted.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The daemon; a bind mount has none.
    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut()
    }

    /// The daemon of a mount that must have one.
    pub fn the_daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("a mount with a daemon")
    }

    /// The daemon, to be looked at; a bind mount has none.
    pub fn daemon_seen(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    /// The daemon apart from the mount, so that both can be looked at at once.
    pub fn take_daemon(&mut self) -> Daemon {
        self.daemon.take().expect("a mount with a daemon")
    }

    /// Puts the daemon back.
    pub fn give_daemon(&mut self, daemon: Daemon) {
        self.daemon = Some(daemon);
    }

    /// The number under which `/sys/fs/fuse/connections` and the tracepoints know the mount.
    pub fn connection(&self) -> u32 {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let device = mountinfo
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| Path::new(fields[4]) == self.mountpoint)
            .map(|fields| fields[2].to_owned())
            .expect("the mount in mountinfo");
        let minor = device.split(':').nth(1).expect("major:minor");
        minor.parse().expect("a minor number")
    }

    fn wait_for_answer(&mut self) -> Result<(), String> {
        let mut refusal = None;
        let daemon = self.daemon.as_mut().expect("a daemon");
        let mountpoint = &self.mountpoint;
        wait_until("the mount answers", || {
            if let Some(status) = daemon.poll() {
                refusal = Some(format!("the daemon ended with {status}:\n{}", daemon.log()));
                return true;
            }
            is_fuse_mountpoint(mountpoint) && fs::metadata(mountpoint).is_ok()
        });
        match refusal {
            Some(refusal) => {
                self.finished = true;
                watchdog::release_mountpoint(&self.mountpoint);
                Err(refusal)
            }
            None => Ok(()),
        }
    }

    /// Unmounts, once those who still use the mount are gone.
    pub fn unmount(&self) {
        let mut last = None;
        wait_until("the mount is not busy", || {
            last = umount2(&self.mountpoint, MntFlags::UMOUNT_NOFOLLOW).err();
            last != Some(nix::Error::EBUSY)
        });
        assert_eq!(last, None, "umount {}", self.mountpoint.display());
        watchdog::release_mountpoint(&self.mountpoint);
    }

    /// Unmounts, and checks that the daemon ended cleanly and had nothing to complain of.
    pub fn finish(mut self) {
        self.unmount();
        self.finished = true;
        if let Some(daemon) = &mut self.daemon {
            daemon.expect_clean_end();
        }
    }

    /// The test itself has unmounted or killed, and checked what it wanted.
    pub fn abandon(mut self) {
        self.clean_up();
    }

    fn clean_up(&mut self) {
        self.finished = true;
        watchdog::take_down(&self.mountpoint);
        watchdog::release_mountpoint(&self.mountpoint);
        if let Some(daemon) = &mut self.daemon {
            daemon.kill();
        }
    }
}

impl Drop for TestMount {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if self.daemon.is_some() && thread::panicking() {
            eprintln!(
                "--- the daemon's log ({}):\n{}",
                self.variant.name(),
                super::daemon::log_tail(&self.root.path().join("log"))
            );
        }
        self.clean_up();
    }
}

/// Whether a FUSE file system is mounted there, by the table of mounts: asks nobody who may hang.
pub fn is_fuse_mountpoint(path: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts")
        .expect("the table of mounts")
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .any(|fields| Path::new(fields[1]) == path && fields[2].starts_with("fuse"))
}
