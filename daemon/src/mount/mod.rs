//! Mounting and unmounting: by mount(2) for those who may, by fusermount3 for everybody else.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`kernel`] | mount(2) and umount2(2) |
//! | [`fusermount`] | the same asked of the set-user-id helper of libfuse |
//! | [`table`] | what is mounted where: `/proc/self/mountinfo` |
//! | [`presence`] | how the daemon behind a mount is found and waited for |
//! | [`undertaker`] | who ends the mount of a daemon that died and cannot go |

pub mod fusermount;
pub mod kernel;
pub mod presence;
pub mod table;
pub mod undertaker;

use crate::{
    config::Config,
    error::{Error, Result},
};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
    thread::CapabilitySet,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use table::{DeviceNumber, MountTable};

/// The type under which mounts appear in the mount table.
pub const FS_TYPE: &str = "fuse.shmfuse";

/// What to do about a mount in use.
const BUSY: &str = "fuser -vm shows who uses it; --lazy detaches it all the same";

/// How to unmount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Only if nobody uses the mount.
    Clean,
    /// Now out of sight; it ends when nobody uses it any more.
    Lazy,
    /// Now: the connection is aborted, and everything that waits for it fails.
    Force,
}

/// Whether this process may call mount(2): it has CAP_SYS_ADMIN.
pub fn is_privileged() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// A mount of ours. Dropped, it is ended, so that a failure on the way leaves nothing behind, and
/// nobody waits for answers that do not come: not even a thread of this process, which could not
/// end then.
#[derive(Debug)]
pub struct Mounted {
    mountpoint: PathBuf,
    device: DeviceNumber,
    /// Whether it is still ours to detach.
    attached: bool,
}

impl Mounted {
    /// Finds the mount that has just been made.
    fn new(mountpoint: &Path) -> Result<Self> {
        let table = MountTable::read()?;
        match table.top(mountpoint).filter(|mount| mount.is_ours()) {
            Some(mount) => Ok(Self {
                mountpoint: mountpoint.to_owned(),
                device: mount.device,
                attached: true,
            }),
            None => {
                let place = mountpoint.display().to_string();
                Err(Error::refused(place, "another mount has covered it", ""))
            }
        }
    }

    /// The mount of a daemon that died, whose successor this process is.
    pub fn taken_over(mountpoint: &Path, device: DeviceNumber) -> Self {
        Self {
            mountpoint: mountpoint.to_owned(),
            device,
            attached: true,
        }
    }

    /// The device number of the mount.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// Unmounts it, unless that has been done by others.
    ///
    /// # Errors
    ///
    /// Another mount covers it, or what [`unmount`] says.
    pub fn unmount(&mut self, how: How) -> Result<()> {
        let table = MountTable::read()?;
        match table.top(&self.mountpoint) {
            Some(mount) if mount.device == self.device => unmount(&self.mountpoint, how)?,
            _ if table.has(self.device) => {
                let place = self.mountpoint.display().to_string();
                let why = "another mount covers this one";
                return Err(Error::refused(place, why, "unmount that first"));
            }
            _ => {}
        }
        self.attached = false;
        Ok(())
    }

    /// Leaves the place alone: the mount has ended, and what is mounted there from now on is not
    /// this one, whatever its device number.
    pub fn forget(mut self) {
        self.attached = false;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let how = if is_privileged() {
            How::Force
        } else {
            How::Lazy
        };
        if self.attached
            && let Err(error) = self.unmount(how)
        {
            tracing::warn!("the mount stays behind, without a daemon: {error}");
        }
    }
}

/// Ties an open `/dev/fuse` to the mountpoint by mount(2).
///
/// # Errors
///
/// What [`kernel::mount`] says, or a mount of ours that was faster.
pub fn mount(config: &Config, device: impl AsFd) -> Result<Mounted> {
    let _turn = Turn::take(config)?;
    kernel::mount(config, device.as_fd())?;
    Mounted::new(&config.mountpoint)
}

/// Has fusermount3 open `/dev/fuse` and mount it.
///
/// # Errors
///
/// What [`fusermount::mount`] says, or a mount of ours that was faster.
pub fn mount_by_helper(config: &Config) -> Result<(Mounted, OwnedFd)> {
    let _turn = Turn::take(config)?;
    let device = fusermount::mount(config)?;
    Ok((Mounted::new(&config.mountpoint)?, device))
}

/// The right to mount at a place, while it is held: of commands that start at once, the first
/// mounts and the others see that. It is a lock on the directory below the mount; one that this
/// user may not read, whose file system has no locks, or that somebody else keeps locked, is not
/// protected.
#[derive(Debug)]
struct Turn {
    _locked: Option<OwnedFd>,
}

impl Turn {
    /// Waits for it, but not for ever: other programs may lock directories, too. A mount that is
    /// to give way is detached, as late as can be: until the next one is there, the directory below
    /// is seen.
    ///
    /// # Errors
    ///
    /// shmfuse is mounted there by now.
    fn take(config: &Config) -> Result<Self> {
        let mountpoint = config.mountpoint.as_path();
        let locked = lock(mountpoint);
        let table = MountTable::read()?;
        match table.top(mountpoint).filter(|mount| mount.is_ours()) {
            Some(mount) if Some(mount.device) == config.replaces => {
                unmount(mountpoint, How::Lazy)?;
                Ok(Self { _locked: locked })
            }
            Some(mount) => Err(table::already_mounted(mount)),
            None => Ok(Self { _locked: locked }),
        }
    }
}

/// How long another command may take to mount.
const TURN: Duration = Duration::from_secs(5);

fn lock(directory: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty()).ok()?;
    let until = Instant::now() + TURN;
    while Instant::now() < until {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(Duration::from_millis(2)),
            Err(_) => return None,
        }
    }
    None
}

/// Unmounts what is on top at `mountpoint`, an absolute path without symbolic links.
///
/// # Errors
///
/// The mount is in use, or not this user's.
pub fn unmount(mountpoint: &Path, how: How) -> Result<()> {
    if is_privileged() {
        kernel::unmount(mountpoint, how)
    } else {
        fusermount::unmount(mountpoint, how)
    }
}
