//! The inodes that the kernel knows: by nodeid and by identity, with their lookup counts.
//!
//! # Invariants
//!
//! - An inode is in both tables or in neither, but for the time that the lock of its identity's
//!   shard is held.
//! - A lookup count changes only under that lock. So a lookup either finds the inode before a
//!   forget took the last reference, and keeps it, or finds nothing and makes a new inode with a
//!   new nodeid; and a nodeid once answered with a count stays until the kernel gave the count
//!   back.
//! - A nodeid is used once.
//! - Where the kernel programs answer LOOKUPs, those count too, in a word of shared memory that
//!   belongs to the inode ([`counted_in`](InodeStore::counted_in)): the inode goes when the kernel has
//!   given back what both have counted, and no program answers with it any more.

use super::{
    inode::{Identity, Inode},
    ledger::{self, Ledger},
    restore::record_inode,
};
use crate::{answers::Answers, fuse::Errno};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use transport::{
    lookups::{self, LookupRef, Remaining},
    sync::LookupWord,
    wire::ROOT_ID,
};

/// Shards of each table, a power of two: threads rarely meet in one.
const SHARDS: usize = 64;

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct InodeStore {
    root: Arc<Inode>,
    next_nodeid: AtomicU64,
    by_nodeid: [RwLock<HashMap<u64, Arc<Inode>>>; SHARDS],
    by_identity: [Mutex<HashMap<Identity, Known>>; SHARDS],
    hasher: RandomState,
    answers: OnceLock<Arc<Answers>>,
    ledger: OnceLock<Arc<Ledger>>,
}

#[derive(Debug)]
struct Known {
    inode: Arc<Inode>,
    /// Lookups that the daemon counted, and those that the kernel gave back: of these, and of those
    /// that the kernel programs counted.
    given: u64,
    returned: u64,
}

impl Known {
    fn new(inode: &Arc<Inode>) -> Self {
        Self {
            inode: Arc::clone(inode),
            given: 1,
            returned: 0,
        }
    }

    /// One more lookup.
    fn give(&mut self) -> Arc<Inode> {
        self.given += 1;
        if let Some(recorded) = self.inode.recorded() {
            recorded.set(ledger::inode::GIVEN, self.given);
        }
        Arc::clone(&self.inode)
    }

    fn take_back(&mut self, count: u64) {
        self.returned = self.returned.saturating_add(count);
        if let Some(recorded) = self.inode.recorded() {
            recorded.set(ledger::inode::RETURNED, self.returned);
        }
    }
}

impl InodeStore {
    /// A store that knows `root`, whose nodeid is [`ROOT_ID`], for ever.
    pub fn new(root: Arc<Inode>) -> Self {
        debug_assert_eq!(root.nodeid(), ROOT_ID);
        let store = Self {
            root: Arc::clone(&root),
            next_nodeid: AtomicU64::new(ROOT_ID + 1),
            by_nodeid: std::array::from_fn(|_| RwLock::default()),
            by_identity: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            answers: OnceLock::new(),
            ledger: OnceLock::new(),
        };
        store.add_root();
        store
    }

    /// The root.
    pub fn root(&self) -> &Arc<Inode> {
        &self.root
    }

    /// The inode that the kernel calls `nodeid`.
    ///
    /// # Errors
    ///
    /// `ESTALE` if there is none: the kernel then looks the name up again.
    pub fn get(&self, nodeid: u64) -> Result<Arc<Inode>, Errno> {
        let shard = self.nodeid_shard(nodeid);
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&nodeid).map(Arc::clone).ok_or(Errno::STALE)
    }

    /// The inode with this identity, without counting a lookup.
    pub fn peek(&self, identity: &Identity) -> Option<Arc<Inode>> {
        let shard = self.identity_shard(identity);
        shard.get(identity).map(|known| Arc::clone(&known.inode))
    }

    /// Counts a lookup of the inode with this identity, if it is known and `accept`ed.
    pub fn find(
        &self,
        identity: &Identity,
        accept: impl FnOnce(&Inode) -> bool,
    ) -> Option<Arc<Inode>> {
        let mut shard = self.identity_shard(identity);
        let known = shard
            .get_mut(identity)
            .filter(|known| accept(&known.inode))?;
        Some(known.give())
    }

    /// Counts a lookup of the inode with this identity; if it is not known `make` makes it, with
    /// the nodeid it is given and this identity.
    ///
    /// # Errors
    ///
    /// What `make` says.
    pub fn find_or_add(
        &self,
        identity: Identity,
        make: impl FnOnce(u64, Identity) -> Result<Inode, Errno>,
    ) -> Result<Arc<Inode>, Errno> {
        let mut shard = self.identity_shard(&identity);
        if let Some(known) = shard.get_mut(&identity) {
            return Ok(known.give());
        }
        let nodeid = self.next_nodeid.fetch_add(1, Ordering::Relaxed);
        let inode = Arc::new(make(nodeid, identity.clone())?);
        if let Some(ledger) = self.ledger.get() {
            inode.record(record_inode(ledger, &inode));
        }
        shard.insert(identity, Known::new(&inode));
        self.insert_nodeid(&inode);
        Ok(inode)
    }

    /// Takes `count` lookups back; the inode goes with the last one. The root stays.
    pub fn forget(&self, nodeid: u64, count: u64) {
        if nodeid == ROOT_ID {
            return;
        }
        let Ok(inode) = self.get(nodeid) else {
            tracing::warn!("the kernel forgets nodeid {nodeid}, which it does not have");
            return;
        };
        // Its descriptor is closed after the lock is released.
        let gone;
        {
            let mut shard = self.identity_shard(inode.identity());
            let Some(known) = shard.get_mut(inode.identity()) else {
                return;
            };
            if known.inode.nodeid() != nodeid {
                return;
            }
            known.take_back(count);
            if self.is_referred_to(known) {
                return;
            }
            let nlookup = known.given + self.counted(&inode);
            if known.returned > nlookup {
                let returned = known.returned;
                tracing::warn!("the kernel forgets nodeid {nodeid} {returned} times of {nlookup}");
            }
            if let (Some(answers), Some(word)) = (self.answers.get(), inode.counted_in()) {
                inode.set_counted_in(None);
                answers.words().give_back(word);
            }
            gone = shard.remove(inode.identity());
            let by_nodeid = self.nodeid_shard(nodeid);
            let mut by_nodeid = by_nodeid.write().unwrap_or_else(PoisonError::into_inner);
            by_nodeid.remove(&nodeid);
        }
        drop(gone);
    }

    /// The lookups of `nodeid` that the kernel has not taken back; 0 if it is not known.
    pub fn nlookup(&self, nodeid: u64) -> u64 {
        self.get(nodeid).map_or(0, |inode| {
            let shard = self.identity_shard(inode.identity());
            let known = shard.get(inode.identity());
            known.filter(|k| k.inode.nodeid() == nodeid).map_or(0, |k| {
                (k.given + self.counted(&inode)).saturating_sub(k.returned)
            })
        })
    }

    /// How often `nodeid` was given away so far, by the daemon and by programs; 0 if it is not known.
    pub fn given(&self, nodeid: u64) -> u64 {
        self.get(nodeid).map_or(0, |inode| {
            let shard = self.identity_shard(inode.identity());
            let known = shard.get(inode.identity());
            let known = known.filter(|known| known.inode.nodeid() == nodeid);
            known.map_or(0, |known| known.given + self.counted(&inode))
        })
    }

    /// Every inode is recorded from now on.
    pub fn recorded_by(&self, ledger: &Arc<Ledger>) {
        // There is one ledger to a mount.
        let _ = self.ledger.set(Arc::clone(ledger));
    }

    /// An inode that a predecessor knew.
    pub(super) fn restore(&self, inode: Arc<Inode>, given: u64, returned: u64) {
        let mut shard = self.identity_shard(inode.identity());
        self.insert_nodeid(&inode);
        let identity = inode.identity().clone();
        let known = Known {
            inode,
            given,
            returned,
        };
        shard.insert(identity, known);
    }

    /// New inodes get `next` and what follows.
    pub(super) fn nodeids_from(&self, next: u64) {
        self.next_nodeid.fetch_max(next, Ordering::Relaxed);
    }

    /// Lookups may be answered by kernel programs from now on.
    pub fn answered_by(&self, answers: &Arc<Answers>) {
        // There is one set of programs to a mount.
        let _ = self.answers.set(Arc::clone(answers));
    }

    /// Where the kernel programs count the lookups that they answer with `inode`. If there is no
    /// word left it gets another inode's. `None` if there is none at all, or if the inode was
    /// forgotten; the root is never counted.
    pub fn counted_in(&self, inode: &Inode) -> Option<LookupRef> {
        /// Whoever should give its word up may not have it any more.
        const TRIES: usize = 8;
        let answers = self.answers.get()?;
        if inode.nodeid() == ROOT_ID {
            return None;
        }
        for _ in 0..TRIES {
            {
                let shard = self.identity_shard(inode.identity());
                let known = shard.get(inode.identity())?;
                if known.inode.nodeid() != inode.nodeid() {
                    return None;
                }
                if let Some(word) = known.inode.counted_in() {
                    return Some(word);
                }
                if let Some(word) = answers.words().take(answers.memory(), inode.nodeid()) {
                    known.inode.set_counted_in(Some(word));
                    return Some(word);
                }
            }
            self.withdraw(answers, answers.words().next_victim()?);
        }
        None
    }

    /// Takes its word from an inode: what was counted there is the daemon's own count from now on.
    fn withdraw(&self, answers: &Answers, nodeid: u64) {
        let Ok(inode) = self.get(nodeid) else { return };
        let mut shard = self.identity_shard(inode.identity());
        let known = shard.get_mut(inode.identity());
        let Some(known) = known.filter(|known| known.inode.nodeid() == nodeid) else {
            return;
        };
        let Some(word) = known.inode.counted_in() else {
            return;
        };
        if let Some(counter) = answers.memory().lookup_word(word.index) {
            known.given += lookups::withdraw(counter);
        }
        known.inode.set_counted_in(None);
        answers.words().give_back(word);
        answers.count(|counters| counters.withdrawn.add(1));
    }

    /// Whether the kernel has references left. If not, no program answers with the inode any more.
    fn is_referred_to(&self, known: &Known) -> bool {
        match self.word_of(&known.inode) {
            Some(word) => {
                lookups::bury_if_forgotten(word, known.given, known.returned) == Remaining::Alive
            }
            None => known.returned < known.given,
        }
    }

    /// Lookups that kernel programs counted.
    fn counted(&self, inode: &Inode) -> u64 {
        self.word_of(inode).map_or(0, lookups::counted)
    }

    fn word_of(&self, inode: &Inode) -> Option<&LookupWord> {
        let word = inode.counted_in()?;
        self.answers.get()?.memory().lookup_word(word.index)
    }

    /// How many inodes there are, the root included: at least 1.
    pub fn inode_count(&self) -> usize {
        let len = |shard: &RwLock<HashMap<_, _>>| {
            shard.read().unwrap_or_else(PoisonError::into_inner).len()
        };
        self.by_nodeid.iter().map(len).sum()
    }

    /// All inodes there are at the moment, the root included.
    pub fn all(&self) -> Vec<Arc<Inode>> {
        let mut all = Vec::new();
        for shard in &self.by_nodeid {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.values().map(Arc::clone));
        }
        all
    }

    /// Forgets everything but the root.
    pub fn clear(&self) {
        for shard in &self.by_identity {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for known in std::mem::take(&mut *shard).into_values() {
                let nodeid = known.inode.nodeid();
                let by_nodeid = self.nodeid_shard(nodeid);
                let mut by_nodeid = by_nodeid.write().unwrap_or_else(PoisonError::into_inner);
                by_nodeid.remove(&nodeid);
            }
        }
        self.add_root();
    }

    fn add_root(&self) {
        let mut shard = self.identity_shard(self.root.identity());
        shard.insert(self.root.identity().clone(), Known::new(&self.root));
        self.insert_nodeid(&self.root);
    }

    /// To be called with the identity's shard locked.
    fn insert_nodeid(&self, inode: &Arc<Inode>) {
        let shard = self.nodeid_shard(inode.nodeid());
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        shard.insert(inode.nodeid(), Arc::clone(inode));
    }

    fn nodeid_shard(&self, nodeid: u64) -> &RwLock<HashMap<u64, Arc<Inode>>> {
        &self.by_nodeid[nodeid as usize % SHARDS]
    }

    fn identity_shard(&self, identity: &Identity) -> MutexGuard<'_, HashMap<Identity, Known>> {
        let shard = self.hasher.hash_one(identity) as usize % SHARDS;
        let shard = &self.by_identity[shard];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
