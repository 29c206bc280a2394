//! `--supervise`: a small parent process that replaces a daemon which has died.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`child`] | the daemon as a child of this process |
//! | [`kept`] | what is kept of a mount, for another daemon to go on with |
//! | [`deaths`] | how often a daemon may die before it is left dead |
//!
//! The supervisor has one thread, serves nothing and touches no file of the mount, so that whatever
//! ends a daemon leaves it alone. On classic a successor goes on where the daemon died, and nobody
//! notices; else it mounts anew at the same place. docs/reliability.md says what users of the mount see
//! meanwhile, docs/decisions/0030 why.

pub mod child;
pub mod deaths;
pub mod kept;

use crate::{
    config::Config,
    daemonize,
    error::{Error, Result},
    lifecycle::{self, Announce},
    mount::{
        presence,
        table::{DeviceNumber, MountTable},
    },
    signals::Signals,
};
use child::{Child, Descriptors, End, Start};
use deaths::Deaths;
use kept::Kept;
use nix::sys::signal::Signal;
use std::{
    cell::Cell,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

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
    lifecycle::raise_limits();
    let goes_on = Kept::is_possible(&config)?;
    Supervisor {
        signals: Signals::collect()?,
        goes_on,
        kept: None,
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
    /// Whether a daemon can go on where another died.
    goes_on: bool,
    /// Of the mount that there is, if one can.
    kept: Option<Kept>,
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
            Announce::Parent(report) => {
                let fd = report.as_fd().as_raw_fd();
                report.ready()?;
                if let Some(kept) = &mut self.kept {
                    kept.give_up(fd);
                }
            }
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
            drop(child);
            (child, device) = match self.replace(dead)? {
                Some(successor) => successor,
                None => return Ok(()),
            };
            tracing::warn!("daemon {} serves in its place", child.pid());
        }
    }

    /// Starts daemons until one serves. None if the mount is to end.
    fn replace(&mut self, mut dead: Option<DeviceNumber>) -> Result<Option<(Child, DeviceNumber)>> {
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
                    let pid = child.pid();
                    let end = child.reap();
                    if self.ending.get() {
                        return Ok(None);
                    }
                    if let (End::Signal(_), Some(_)) = (end, &self.kept) {
                        // It did not say that it cannot go on, and what it has recorded holds.
                        tracing::warn!("daemon {pid}, which did not serve yet: {end}");
                        continue;
                    }
                    tracing::error!("no daemon in place of the one that died: {error}");
                    // The next one mounts anew.
                    if let Some(kept) = self.kept.take() {
                        kept.abandon()?;
                    }
                    // It may have mounted before it died.
                    dead = self.dead_mount();
                }
            }
        }
    }

    /// Starts a daemon, and waits until it serves or has failed. It goes on where the one before
    /// died, if it can; else it mounts anew, in place of the mount `dead`.
    fn start(&mut self, dead: Option<DeviceNumber>) -> Result<(Child, Start)> {
        let mut config = self.config.clone();
        config.replaces = dead;
        self.keep_or_abandon(dead)?;
        if self.goes_on && self.kept.is_none() {
            self.kept = Kept::mount(&config)?;
            self.goes_on = self.kept.is_some();
        }
        let (child, word) = match &self.kept {
            Some(kept) => Child::fork(Descriptors::Shared, |ready| {
                lifecycle::go_on(config, Announce::Supervisor(ready), kept)
            })?,
            None => Child::fork(Descriptors::Copied, |ready| {
                lifecycle::run(config, Announce::Supervisor(ready))
            })?,
        };
        let start = child.start(word, &self.signals, || self.pass_on(Some(&child)))?;
        Ok((child, start))
    }

    /// Leaves of a daemon that died what the next one needs; nothing if the mount has ended or
    /// nobody can go on with it.
    fn keep_or_abandon(&mut self, dead: Option<DeviceNumber>) -> Result<()> {
        match self.kept.take() {
            Some(kept) if dead == Some(kept.mount) && kept.ledger.is_complete() => {
                kept.sweep()?;
                self.kept = Some(kept);
                Ok(())
            }
            Some(kept) => {
                tracing::warn!("nobody can go on with the mount of the daemon that died");
                kept.abandon()
            }
            None => Ok(()),
        }
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

    /// The mount that is in the place and has no daemon.
    fn dead_mount(&self) -> Option<DeviceNumber> {
        let table = MountTable::read().ok()?;
        let top = table.top(&self.config.mountpoint)?;
        (top.is_ours() && presence::find(top.device).is_none()).then_some(top.device)
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
