//! How the daemon behind a mount is found and waited for.
//!
//! Each daemon listens on a socket whose abstract name holds the device number of its mount. It
//! never accepts: that a connection can be made says that the daemon is there, its credentials
//! (unix(7), `SO_PEERCRED`) say which process it is. There is no file to go stale; the name goes
//! with the process. The name is visible within one network namespace.

use super::table::DeviceNumber;
use crate::error::{Error, Result};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, getuid, pidfd_open},
};
use std::{
    io::ErrorKind,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

/// How long the daemon may take from the end of its mount to its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a daemon may take to end whose mount had the device number before.
const TAKEOVER: Duration = Duration::from_secs(5);

/// Held by the daemon while it serves, and given up as soon as it learns that its mount has ended: then the
/// device number may be another mount's, and who looks for that one's daemon must not find this.
#[derive(Debug)]
pub struct Presence {
    _listener: UnixListener,
}

/// A daemon that serves a mount.
#[derive(Debug)]
pub struct Daemon {
    process: OwnedFd,
    pid: Pid,
}

fn address(device: DeviceNumber) -> std::io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("shmfuse/{}:{}", device.major, device.minor))
}

/// Makes this process findable as the daemon of a mount. Its credentials are taken here: a
/// process that forks calls this in the child.
///
/// Device numbers are used again as soon as a mount has ended, which is before its daemon has:
/// that one is waited for.
///
/// # Errors
///
/// The name stays taken: somebody else pretends to be this daemon.
pub fn announce(device: DeviceNumber) -> Result<Presence> {
    let until = Instant::now() + TAKEOVER;
    loop {
        let bound = address(device).and_then(|address| UnixListener::bind_addr(&address));
        let left = until.saturating_duration_since(Instant::now());
        match bound {
            Ok(listener) => {
                return Ok(Presence {
                    _listener: listener,
                });
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && !left.is_zero() => {
                match find(device) {
                    Some(daemon) => drop(is_ready(&daemon.process, left)),
                    None => std::thread::sleep(Duration::from_millis(5).min(left)),
                }
            }
            Err(error) => return Err(Error::system("cannot listen for shmfuse umount", error)),
        }
    }
}

/// Finds the daemon of a mount; none if it has died, or is in another network or pid namespace.
/// One that belongs to neither root nor this user is not believed.
pub fn find(device: DeviceNumber) -> Option<Daemon> {
    let connection = UnixStream::connect_addr(&address(device).ok()?).ok()?;
    let peer = getsockopt(&connection, PeerCredentials).ok()?;
    if peer.uid() != 0 && peer.uid() != getuid().as_raw() && !getuid().is_root() {
        return None;
    }
    let pid = Pid::from_raw(peer.pid()).filter(|pid| pid.as_raw_nonzero().get() > 0)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The number could have passed to another process before it was opened; not so if the
    // connection still stands.
    (!is_ready(&connection, Duration::ZERO)).then_some(Daemon { process, pid })
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the process has gone.
    ///
    /// # Errors
    ///
    /// It stays although its mount has ended.
    pub fn wait(&self) -> Result<()> {
        if is_ready(&self.process, PATIENCE) {
            return Ok(());
        }
        let pid = self.pid.as_raw_nonzero();
        Err(Error::refused(
            format!("daemon {pid}"),
            format!("still there {} s after the unmount", PATIENCE.as_secs()),
            format!("see its log; kill -9 {pid} ends it"),
        ))
    }
}

/// Whether `fd` becomes readable, or is hung up, within `time`.
pub(crate) fn is_ready(fd: impl std::os::fd::AsFd, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = rustix::event::Timespec::try_from(left).expect("a wait is shorter than 2^63 s");
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) | Ok(0) => return false,
            Ok(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_found_by_its_device_while_it_listens() {
        // No file system has this major number: it is above the 12 bits of the kernel's dev_t.
        let device = DeviceNumber {
            major: 4096,
            minor: std::process::id(),
        };
        assert!(find(device).is_none());
        let presence = announce(device).unwrap();
        let daemon = find(device).unwrap();
        assert_eq!(
            daemon.pid().as_raw_nonzero().get(),
            std::process::id() as i32
        );
        drop(presence);
        assert!(find(device).is_none());
    }
}
