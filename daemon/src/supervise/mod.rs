//! `--supervise`: a small parent process that replaces a daemon which has died.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`child`] | the daemon as a child of this process |
//! | [`deaths`] | how often a daemon may die before it is left dead |
//!
//! The supervisor has one thread, serves nothing and touches no file of the mount, so that whatever
//! ends a daemon leaves it alone. A successor mounts anew at the same place; docs/reliability.md says
//! what users of the mount see meanwhile.

pub mod child;
pub mod deaths;

use crate::{
    config::Config,
    daemonize,
    error::{Error, Result},
    lifecycle::{self, Announce},
    mount::table::{DeviceNumber, MountTable},
    signals::Signals,
};
use child::{Child, End, Start};
use deaths::Deaths;
use nix::sys::signal::Signal;
use std::{cell::Cell, time::Duration};

/// Serves a mount as `config` says: in this process, or in a child of it that is replaced when it
/// dies. Returns when the mount has ended.
///
/// # Errors
///
/// As [`lifecycle::run`]; daemons that die again and again.
pub fn run(config: Config, announce: Announce) -> Result<()> {
    if !config.supervise {
        return lifecycle::run(config, announce);
    }
    crate::log::panics();
    Supervisor {
        signals: Signals::collect()?,
        deaths: Deaths::default(),
        daemon: !matches!(announce, Announce::Log),
        ending: Cell::new(false),
        config,
    }
    .run(announce)
}

/// The parent of the daemons.
#[derive(Debug)]
struct Supervisor {
    config: Config,
    signals: Signals,
    deaths: Deaths,
    /// Not in the foreground.
    daemon: bool,
    /// Somebody wants the mount to end.
    ending: Cell<bool>,
}

impl Supervisor {
    fn run(mut self, announce: Announce) -> Result<()> {
        let (mut child, mut device) = match self.start(None)? {
            (child, Start::Serves(device)) => (child, device),
            (child, Start::Failed(error)) => {
                child.reap();
                return match self.ending.get() {
                    true => Ok(()),
                    false => Err(error),
                };
            }
        };
        match announce {
            Announce::Parent(report) => report.ready()?,
            Announce::Log | Announce::Supervisor(_) => daemonize::tell_supervisor(),
        }
        loop {
            let end = self.wait(&child)?;
            let is_mounted = self.is_mounted(device);
            if self.ending.get() || (end == End::Status(0) && !is_mounted) {
                return match end {
                    End::Status(0) => Ok(()),
                    end => Err(Error::refused(
                        "the daemon",
                        end.to_string(),
                        "its log says why",
                    )),
                };
            }
            tracing::warn!("daemon {}: {end}", child.pid());
            let dead = is_mounted.then_some(device);
            (child, device) = match self.replace(dead)? {
                Some(successor) => successor,
                None => return Ok(()),
            };
            tracing::warn!("daemon {} serves in its place", child.pid());
        }
    }

    /// Starts daemons until one serves. None if the mount is to end.
    fn replace(&mut self, dead: Option<DeviceNumber>) -> Result<Option<(Child, DeviceNumber)>> {
        loop {
            let Some(pause) = self.deaths.one_more() else {
                return Err(Error::refused(
                    self.config.mountpoint.display().to_string(),
                    format!(
                        "its daemon died {} times within {} s",
                        deaths::MOST,
                        deaths::WITHIN.as_secs()
                    ),
                    "it is left dead; see the log, unmount it and mount anew",
                ));
            };
            if self.pause(pause) {
                return Ok(None);
            }
            match self.start(dead)? {
                (child, Start::Serves(device)) => return Ok(Some((child, device))),
                (child, Start::Failed(error)) => {
                    child.reap();
                    if self.ending.get() {
                        return Ok(None);
                    }
                    tracing::error!("no daemon in place of the one that died: {error}");
                }
            }
        }
    }

    /// Starts a daemon, and waits until it serves or has failed.
    fn start(&self, dead: Option<DeviceNumber>) -> Result<(Child, Start)> {
        let mut config = self.config.clone();
        config.replaces = dead;
        let (child, word) =
            Child::fork(move |ready| lifecycle::run(config, Announce::Supervisor(ready)))?;
        let start = child.start(word, &self.signals, || self.pass_on(Some(&child)))?;
        Ok((child, start))
    }

    /// Waits for the end of the daemon. What this process is told to do, it is told.
    fn wait(&self, child: &Child) -> Result<End> {
        loop {
            if let Some(end) = child.ended(&self.signals)? {
                return Ok(end);
            }
            self.pass_on(Some(child));
        }
    }

    /// Tells the daemon what this process has been told.
    fn pass_on(&self, child: Option<&Child>) {
        while let Some(signal) = self.signals.next() {
            match signal {
                // A daemon has no terminal that could hang up.
                Signal::SIGHUP if self.daemon => continue,
                Signal::SIGUSR1 => {}
                _ => self.ending.set(true),
            }
            if let Some(child) = child {
                child.signal(match signal {
                    Signal::SIGHUP => Signal::SIGTERM,
                    signal => signal,
                });
            }
        }
    }

    /// Whether the mount is still in its place.
    fn is_mounted(&self, device: DeviceNumber) -> bool {
        MountTable::read().is_ok_and(|table| {
            let top = table.top(&self.config.mountpoint);
            top.is_some_and(|mount| mount.device == device)
        })
    }

    /// Returns whether the mount is to end.
    fn pause(&self, time: Duration) -> bool {
        std::thread::sleep(time);
        self.pass_on(None);
        self.ending.get()
    }
}
