//! A limit to how long a repetition may hang: a mount that does not answer is aborted, so that its
//! callers get an error instead of waiting for ever.

use nix::mount::{MntFlags, umount2};
use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::Duration,
};

/// Ends every request of a FUSE mount with an error, and all that come.
///
/// `MNT_FORCE` calls the file system's `umount_begin`, which is `fuse_abort_conn` (fs/fuse/inode.c);
/// it does so before it finds that the mount is busy.
pub fn abort(mountpoint: &Path) {
    let _ = umount2(mountpoint, MntFlags::MNT_FORCE);
}

/// Aborts a mount unless it is dropped in time.
#[derive(Debug)]
pub struct Watchdog {
    in_time: Option<Sender<()>>,
    thread: Option<JoinHandle<bool>>,
}

impl Watchdog {
    /// Gives `mountpoint` this long; there is nothing to abort on native.
    pub fn over(mountpoint: Option<PathBuf>, limit: Duration) -> Self {
        let (in_time, asked) = mpsc::channel();
        let thread = mountpoint.map(|mountpoint| {
            std::thread::spawn(move || {
                let bites = asked.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                if bites {
                    abort(&mountpoint);
                }
                bites
            })
        });
        Self {
            in_time: Some(in_time),
            thread,
        }
    }

    /// Calls it off; whether it had aborted the mount.
    pub fn call_off(mut self) -> bool {
        self.in_time.take();
        let thread = self.thread.take();
        thread.is_some_and(|thread| thread.join().unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bites_only_what_is_late() {
        let nowhere = || Some(PathBuf::from("/nonexistent"));
        assert!(!Watchdog::over(nowhere(), Duration::from_secs(60)).call_off());
        assert!(!Watchdog::over(None, Duration::ZERO).call_off());
        let late = Watchdog::over(nowhere(), Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(200));
        assert!(late.call_off());
    }
}
