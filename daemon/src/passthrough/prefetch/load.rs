//! Loading one directory, and what becomes of what was loaded.

use super::{
    Next,
    trust::{Trust, Turn},
};
use crate::{
    fuse::Errno,
    passthrough::{
        Passthrough,
        lookup::{Found, Keep},
        open_directory::OpenDirectory,
    },
};
use rustix::fs::{FileType, OFlags};
use std::{
    collections::{HashSet, VecDeque},
    ffi::CStr,
    os::fd::AsFd,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};
use transport::{counters::PrefetchCounters, layout::CacheCounters};

/// Entries held at most; where there is room for fewer facts, a quarter of those.
const HELD: usize = 8192;
/// Hints after which what was loaded is assessed although its directory was not closed.
const AGE: u64 = 256;
/// After so long without a wish all that is held is let go of.
const IDLE: Duration = Duration::from_secs(5);
/// While nothing is held there is nothing to let go of.
const FOREVER: Duration = Duration::from_secs(1 << 20);
/// Directories that are remembered for not having paid.
const POOR: usize = 1024;

/// What was loaded of one directory and is still ours.
#[derive(Debug)]
struct Batch {
    directory: u64,
    /// Each with one lookup that is ours.
    nodeids: Vec<u64>,
    /// Hints told by then.
    born: u64,
}

/// All that is held, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    batches: VecDeque<Batch>,
    len: usize,
}

impl Held {
    pub(super) fn nodeids(&self) -> impl Iterator<Item = u64> {
        self.batches
            .iter()
            .flat_map(|batch| &batch.nodeids)
            .copied()
    }

    /// Whether something of `directory` is held.
    fn has(&self, directory: u64) -> bool {
        self.batches
            .iter()
            .any(|batch| batch.directory == directory)
    }

    fn push(&mut self, batch: Batch) {
        self.len += batch.nodeids.len();
        self.batches.push_back(batch);
    }

    /// Takes those out that are to be let go of.
    fn take(&mut self, goes: impl Fn(&Batch) -> bool) -> Vec<Batch> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.batches.drain(..).partition(|batch| goes(batch));
        self.batches = kept.into();
        self.len = self.batches.iter().map(|batch| batch.nodeids.len()).sum();
        gone
    }
}

/// The thread's own.
pub(super) struct Loader {
    fs: Arc<Passthrough>,
    trust: Trust,
    /// Directories that did not pay.
    poor: HashSet<u64>,
}

impl Loader {
    pub(super) fn new(fs: Arc<Passthrough>) -> Self {
        let max = HELD.min(fs.config.s1_entries as usize / 4);
        Self {
            fs,
            trust: Trust::new(max),
            poor: HashSet::new(),
        }
    }

    pub(super) fn run(&mut self) {
        loop {
            let held = self.held();
            let patience = if held > 0 { IDLE } else { FOREVER };
            match self.fs.prefetch.next(self.trust.room(held) > 0, patience) {
                Next::Stop => return self.let_go(|_| true),
                Next::Idle => self.let_go(|_| true),
                Next::Work(closed, load) => {
                    let hints = self.hints();
                    self.let_go(|batch| {
                        closed.contains(&batch.directory) || hints - batch.born > AGE
                    });
                    if let Some(directory) = load {
                        self.consider(directory);
                    }
                }
            }
        }
    }

    fn consider(&mut self, directory: u64) {
        let is_held = self.with_held(|held| held.has(directory));
        if is_held || self.poor.contains(&directory) || !self.trust.grants() {
            return;
        }
        let room = self.trust.room(self.held());
        self.count(|counters| counters.started.add(1));
        let mut nodeids = Vec::new();
        if let Err(errno) = self.load(directory, room, &mut nodeids) {
            tracing::debug!(directory, %errno, "not loaded ahead");
        }
        let loaded = nodeids.len() as u64;
        self.count(|counters| counters.loaded.add(loaded));
        if loaded > 0 {
            let born = self.hints();
            self.with_held(|held| {
                held.push(Batch {
                    directory,
                    nodeids,
                    born,
                });
            });
        }
    }

    /// Loads up to `room` entries.
    fn load(&self, directory: u64, room: usize, nodeids: &mut Vec<u64>) -> Result<(), Errno> {
        let fs = &self.fs;
        let inode = fs.inode(directory)?;
        if inode.kind() != FileType::Directory {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::NOATIME;
        let open = OpenDirectory::new(fs.reopen(&inode, flags)?);
        let mut entries = open.entries();
        let mut stamps = None;
        while nodeids.len() < room {
            if fs.prefetch.is_given_up(directory) {
                self.count(|counters| counters.abandoned.add(1));
                break;
            }
            let Some(entry) = entries.peek(&open)? else {
                break;
            };
            if !is_left_out(fs, entry.name) {
                if !stamps.is_some_and(|stamps| fs.has_held(&inode, stamps)) {
                    stamps = fs.stamps_of_names(&inode);
                }
                // The directory is being changed: nothing that was found would be believed.
                if stamps.is_none() {
                    break;
                }
                let found = match fs.find_in_facts(&inode, entry.name) {
                    Some(found) => Ok(found),
                    None => {
                        fs.find_and_cache(&inode, stamps, open.as_fd(), entry.name, Keep::Closed)
                    }
                };
                if let Ok(Found { inode, .. }) = found {
                    self.keep(inode.nodeid(), nodeids);
                }
            }
            entries.advance()?;
        }
        Ok(())
    }

    /// A lookup of ours was counted: it stays ours if the inode was not known before.
    fn keep(&self, nodeid: u64, nodeids: &mut Vec<u64>) {
        if self.fs.inodes.given(nodeid) == 1 {
            nodeids.push(nodeid);
        } else {
            self.fs.forget_lookups(nodeid, 1);
        }
    }

    /// Assesses these, and takes our lookups back.
    fn let_go(&mut self, goes: impl Fn(&Batch) -> bool) {
        let gone = self.with_held(|held| held.take(goes));
        for Batch {
            directory, nodeids, ..
        } in gone
        {
            let mut used = 0;
            let wasted = |used: u64| nodeids.len() as u64 - used;
            for &nodeid in &nodeids {
                used += u64::from(self.fs.inodes.given(nodeid) > 1);
                self.fs.forget_lookups(nodeid, 1);
            }
            let wasted = wasted(used);
            self.count(|counters| {
                counters.used.add(used);
                counters.wasted.add(wasted);
            });
            if used * 4 < wasted {
                if self.poor.len() == POOR {
                    self.poor.clear();
                }
                self.poor.insert(directory);
            }
            match self.trust.assess(used, wasted) {
                Turn::None => {}
                Turn::Stopped => self.count(|counters| counters.stopped.add(1)),
                Turn::Resumed => self.count(|counters| counters.resumed.add(1)),
            }
        }
    }

    fn held(&self) -> usize {
        self.with_held(|held| held.len)
    }

    fn with_held<T>(&self, with: impl FnOnce(&mut Held) -> T) -> T {
        let held = &self.fs.prefetch.held;
        with(&mut held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hints(&self) -> u64 {
        self.fs.prefetch.hints.load(Ordering::Relaxed)
    }

    fn count(&self, count: impl FnOnce(&PrefetchCounters)) {
        if let Some(answers) = self.fs.answers.get() {
            answers.count(|counters: &CacheCounters| count(&counters.prefetch));
        }
    }
}

/// Whether an entry is not for others to know: as in a listing.
fn is_left_out(fs: &Passthrough, name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..") || fs.denied(name).is_some()
}
