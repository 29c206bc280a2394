//! S2: directories are loaded before they are asked for, into the facts that kernel programs answer
//! with, and from which a listing takes what it tells (docs/coherence.md, "Loading ahead").
//!
//! | module | what it holds |
//! | --- | --- |
//! | here | what requests tell, without waiting; the thread |
//! | [`walk`] | which directories are next |
//! | [`trust`] | whether it pays |
//! | [`load`] | loading one directory, and what becomes of it |
//!
//! # Invariants
//!
//! - A request never waits here: what cannot be told at once is not told.
//! - What is loaded is looked at as a request would, with stamps taken before, and counted as a lookup of
//!   ours, to be taken back as the kernel's are by FORGET. So an inode lives while the kernel or we
//!   refer to it, whoever comes first, and what a program answers meanwhile is counted as ever.
//! - There is one thread, with the lowest priority that the ordinary policy has. It gives a directory up
//!   when a listing of it is asked for.

mod load;
mod trust;
mod walk;

use super::Passthrough;
use crate::{config::S2, error::Error, privilege};
use load::{Held, Loader};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use walk::Walk;

/// In the place of a directory: the end. It is no nodeid, which count up from 1.
const EVERYTHING: u64 = u64::MAX;
/// Directories whose listing has ended, to be assessed: more are assessed by their age.
const CLOSED: usize = 256;

/// See the [module's documentation](self).
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    shared: Mutex<Shared>,
    told: Condvar,
    /// The directory that was asked for last.
    demanded: AtomicU64,
    /// How often something was told.
    hints: AtomicU64,
    /// Of the thread, which alone changes it.
    held: Mutex<Held>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    runs: bool,
    walk: Walk,
    /// The directory that was opened last.
    last: Option<u64>,
    closed: Vec<u64>,
}

/// What the thread is to do next.
enum Next {
    Stop,
    /// Nobody has told anything for long.
    Idle,
    /// These are closed; and perhaps this is to be loaded.
    Work(Vec<u64>, Option<u64>),
}

impl Prefetch {
    /// A listing of `directory` is asked for.
    pub(super) fn demand(&self, directory: u64) {
        self.demanded.store(directory, Ordering::Relaxed);
    }

    /// Whether `directory` is no longer to be loaded.
    fn is_given_up(&self, directory: u64) -> bool {
        [directory, EVERYTHING].contains(&self.demanded.load(Ordering::Relaxed))
    }

    /// A listing of `directory` has told of these directories.
    pub(super) fn listed(&self, directory: u64, is_first: bool, children: &[u64]) {
        self.tell(|shared| shared.walk.listed(directory, is_first, children));
    }

    /// A directory is opened.
    pub(super) fn opened(&self, directory: u64) {
        self.demand(directory);
        self.tell(|shared| {
            // Who goes on to another directory is done with the last one, or has it closed late.
            let last = shared.last.replace(directory);
            if let Some(last) = last.filter(|&last| last != directory)
                && shared.closed.len() < CLOSED
            {
                shared.closed.push(last);
            }
            shared.walk.opened(directory) || shared.walk.is_waiting()
        });
    }

    /// A directory is closed.
    pub(super) fn closed(&self, directory: u64) {
        self.tell(|shared| {
            if shared.closed.len() < CLOSED {
                shared.closed.push(directory);
            }
            // The thread may have waited for room.
            shared.walk.is_waiting()
        });
    }

    /// A name was looked up in `directory`, by the daemon.
    pub(super) fn looked_up(&self, directory: u64) {
        self.tell(|shared| shared.walk.looked_up(directory));
    }

    fn tell(&self, tell: impl FnOnce(&mut Shared) -> bool) {
        let mut shared = match self.shared.try_lock() {
            Ok(shared) => shared,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !shared.runs {
            return;
        }
        self.hints.fetch_add(1, Ordering::Relaxed);
        let has_news = tell(&mut shared);
        drop(shared);
        if has_news {
            self.told.notify_one();
        }
    }

    /// Waits for something to do, for as long as `patience`. `has_room` says whether something may be
    /// loaded.
    fn next(&self, has_room: bool, patience: Duration) -> Next {
        let mut shared = self.lock();
        let mut was_told = false;
        loop {
            if !shared.runs {
                return Next::Stop;
            }
            let load = has_room.then(|| shared.walk.next()).flatten();
            if load.is_some() || was_told || !has_room && !shared.closed.is_empty() {
                return Next::Work(std::mem::take(&mut shared.closed), load);
            }
            let waited = self.told.wait_timeout(shared, patience);
            let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            shared = waited;
            if timeout.timed_out() && shared.runs {
                return Next::Idle;
            }
            was_told = true;
        }
    }

    /// Inodes that nobody refers to but us.
    pub(super) fn held_alone(&self, fs: &Passthrough) -> usize {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.nodeids()
            .filter(|&nodeid| fs.inodes.nlookup(nodeid) == 1)
            .count()
    }

    /// Ends the thread, which lets go of all that it holds.
    pub(super) fn stop(&self) {
        self.lock().runs = false;
        self.demand(EVERYTHING);
        self.told.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("panic while directories were loaded ahead");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passthrough {
    /// Starts loading ahead, where there are facts to load; called once.
    pub(super) fn start_prefetch(self: &Arc<Self>) -> crate::error::Result<()> {
        if self.config.s2 != S2::Prefetch || self.answers.get().is_none() {
            return Ok(());
        }
        let mut loader = Loader::new(Arc::clone(self));
        self.prefetch.lock().runs = true;
        let thread = thread::Builder::new()
            .name("shmfuse-ahead".into())
            .spawn(move || {
                // Whoever has something to do comes first; of all other threads this one depends.
                if let Err(errno) = rustix::process::setpriority_process(None, 19) {
                    tracing::warn!(%errno, "directories are loaded ahead with ordinary priority");
                }
                match privilege::settle_server() {
                    Ok(_) => loader.run(),
                    Err(error) => tracing::error!("directories are not loaded ahead: {error}"),
                }
            })
            .map_err(|error| Error::system("cannot start a thread", error))?;
        *self
            .prefetch
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}
