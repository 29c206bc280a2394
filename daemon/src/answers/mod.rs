//! What the kernel programs may answer: the daemon's side of the caches (docs/protocol.md, 8).
//!
//! | module | what it holds |
//! | --- | --- |
//! | here | filling the table of facts, and what has to go when it is full |
//! | [`word_pool`] | which inode has which word in which its answered look-ups are counted |
//! | `heap` | the same memory without a kernel, for tests |
//!
//! Who fills takes stamps first, then looks at the lower file system, then fills. What a fact is
//! filled with is the reply that the daemon would give. Which facts depend on what, and what else has
//! to be held while the lower file system is looked at, is `passthrough::facts`' part.

#[cfg(test)]
pub mod heap;
pub mod word_pool;

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};
use transport::{
    cache::{self, CacheMemory, Key, KeyWords, Kind, WAYS, first_of_set, stamps_of},
    fact::{FACT_WORDS, Fact, FactWriter},
    generation::{self, Stamp},
    layout::{CacheCounters, GENERATIONS},
    transform::Transform,
};
use word_pool::WordPool;

/// Locks over the table; threads rarely meet in one.
const LOCKS: usize = 64;

/// The memory that facts lie in, here and in the programs.
pub trait AnswerMemory: CacheMemory + fmt::Debug + Send + Sync {
    /// How many words there are to count look-ups in.
    fn lookup_words(&self) -> u32;
    /// Where it is counted what becomes of facts.
    fn counters(&self) -> Option<&CacheCounters>;
}

/// The facts of one mount.
#[derive(Debug)]
pub struct Answers {
    memory: Box<dyn AnswerMemory>,
    /// The device whose changes are all noticed.
    device: u64,
    writers: [Mutex<FactWriter>; LOCKS],
    words: WordPool,
    hand: AtomicU32,
}

impl Answers {
    /// Over empty memory, for inodes on `device` (as `passthrough::inode::device_of` has it): every
    /// change of an inode there moves its generation.
    pub fn new(memory: Box<dyn AnswerMemory>, device: u64) -> Self {
        Self {
            words: WordPool::new(memory.lookup_words()),
            memory,
            device,
            writers: std::array::from_fn(|_| Mutex::default()),
            hand: AtomicU32::new(0),
        }
    }

    /// The device whose inodes there may be facts about.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The memory.
    pub fn memory(&self) -> &dyn AnswerMemory {
        &*self.memory
    }

    /// The words in which look-ups are counted.
    pub fn words(&self) -> &WordPool {
        &self.words
    }

    /// The generation of an inode of the device, to be taken before it is looked at; `None` while a
    /// change of it is under way.
    pub fn stamp(&self, number: u64) -> Option<Stamp> {
        let index = index_of(self.device, number);
        Stamp::take(&*self.memory, index)
    }

    /// How far changes of names went that have no end, to be asked for after a directory's stamp was taken
    /// (docs/protocol.md, 8.7).
    pub fn endless(&self) -> Option<u64> {
        generation::endless(&*self.memory)
    }

    /// Whether all `stamps` are of the inode `number`, and nothing that they depend on has changed
    /// since.
    pub fn has_held(&self, number: u64, stamps: &[Stamp]) -> bool {
        let index = index_of(self.device, number);
        let holds = |stamp: &Stamp| stamp.index == index && stamp.is_valid(&*self.memory);
        stamps.iter().all(holds)
    }

    /// The first words of the fact about this, if there is one that is true, as a program would read
    /// it.
    pub fn recall<const N: usize>(&self, key: &Key<'_, [u8]>) -> Option<[u64; N]> {
        let found = cache::find(&*self.memory, key)?;
        let words = std::array::from_fn(|index| found.body(index));
        if !found.is_true(&*self.memory) {
            return None;
        }
        found.mark_used();
        Some(words)
    }

    /// Makes a fact. One that does not fit, or has become untrue already, is let go of.
    pub fn fill(
        &self,
        key: &Key<'_, [u8]>,
        stamps: [Stamp; 2],
        body: &(impl KeyWords + ?Sized),
        body_len: u32,
    ) {
        let Some(words) = cache::encode(key, stamps, body, body_len) else {
            return;
        };
        let Some(first) = first_of_set(self.memory.sets(), words[2]) else {
            return;
        };
        let lock = &self.writers[(first / WAYS) as usize % LOCKS];
        let mut writer = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !stamps.iter().all(|stamp| stamp.is_valid(&*self.memory)) {
            return;
        }
        let place = self.place(first, &words);
        let fact = self.memory.fact(place);
        if fact.is_some_and(|fact| fact.write(&words, &mut writer)) {
            self.count(|counters| counters.filled.add(1));
        }
    }

    /// Whether a program makes a fact of the reply to a request that asked for this: there is one, and
    /// replies are looked at.
    pub fn is_renewed(&self, key: &Key<'_, [u8]>) -> bool {
        self.memory.renews() && cache::find(&*self.memory, key).is_some()
    }

    /// Makes the table of names that are refused, each with its errno.
    pub fn refuse<'n>(memory: &dyn AnswerMemory, names: impl Iterator<Item = (&'n [u8], i32)>) {
        let never = Stamp { index: 0, value: 0 };
        for (name, errno) in names {
            let key = Key {
                kind: Kind::Denied,
                nodeid: 0,
                name,
                len: name.len(),
            };
            let body = [errno as u64];
            let Some(words) = cache::encode(&key, [never; 2], &body[..], 8) else {
                continue;
            };
            let Some(first) = first_of_set(memory.denied_sets(), words[2]) else {
                continue;
            };
            let free = (first..first + WAYS).filter_map(|index| memory.denied(index));
            let mut writer = FactWriter::default();
            for fact in free {
                if read(fact).is_none_or(|held| held[0] == 0 || same_key(&held, &words)) {
                    fact.write(&words, &mut writer);
                    break;
                }
            }
        }
    }

    /// Where in its set a fact goes: over the one about the same; else to where none is, or an
    /// untrue one; else over one that was of no use since it was asked last.
    fn place(&self, first: u32, words: &[u64; FACT_WORDS]) -> u32 {
        let mut free = None;
        for index in first..first + WAYS {
            let Some(held) = self.memory.fact(index).and_then(read) else {
                continue;
            };
            let is_true = held[0] != 0 && self.is_true(&held);
            if held[0] != 0 && same_key(&held, words) {
                if !is_true {
                    self.count(|counters| counters.renewed.add(1));
                }
                return index;
            }
            if !is_true {
                free = free.or(Some(index));
            }
        }
        free.unwrap_or_else(|| {
            self.count(|counters| counters.evicted.add(1));
            let start = self.hand.fetch_add(1, Ordering::Relaxed);
            let ways = (0..WAYS).map(|way| first + start.wrapping_add(way) % WAYS);
            let useless = |index: &u32| !self.memory.fact(*index).is_some_and(Fact::take_used);
            ways.clone().find(useless).unwrap_or(first + start % WAYS)
        })
    }

    fn is_true(&self, words: &[u64; FACT_WORDS]) -> bool {
        stamps_of(words)
            .iter()
            .all(|stamp| stamp.is_valid(&*self.memory))
    }

    /// Counts something, where it is counted.
    pub fn count(&self, count: impl FnOnce(&CacheCounters)) {
        if let Some(counters) = self.memory.counters() {
            count(counters);
        }
    }

    /// A change of everything begins: no fact is true, and none is made, until the value is dropped.
    pub fn change_all(&self) -> ChangeOfAll<'_> {
        for index in 0..GENERATIONS as u32 {
            generation::begin_change(&*self.memory, index);
        }
        ChangeOfAll(self)
    }

    /// Puts a transformation where the programs find it by its number; to be called while
    /// [everything changes](Self::change_all).
    pub fn transform(&self, number: u32, transform: &Transform) {
        if let Some(place) = self.memory.transform(number) {
            place.store(transform);
        }
    }

    /// A change of these inodes, as far as they are on the device, begins; it ends when the value is
    /// dropped.
    pub fn change(&self, inodes: impl IntoIterator<Item = (u64, u64)>) -> Change<'_> {
        let mut change = Change {
            answers: self,
            indices: [0; CHANGED_MAX],
            len: 0,
        };
        for (device, number) in inodes {
            if device == self.device {
                change.add(index_of(device, number));
            }
        }
        change
    }
}

/// The generation word of an inode; `device` as `passthrough::inode::device_of` has it.
fn index_of(device: u64, number: u64) -> u32 {
    let device = generation::device_of((device >> 32) as u32, device as u32);
    generation::index_of(device, number)
}

fn read(fact: &Fact) -> Option<[u64; FACT_WORDS]> {
    let mut words = [0; FACT_WORDS];
    fact.read(&mut words).then_some(words)
}

/// Whether two facts are about the same: kind, inode and hash, and the key that the hash is of, which
/// for a table of caches need not be compared.
fn same_key(one: &[u64; FACT_WORDS], other: &[u64; FACT_WORDS]) -> bool {
    one[0] as u32 == other[0] as u32 && one[1..3] == other[1..3]
}

/// Most inodes that one request changes: two directories, and an entry of each.
const CHANGED_MAX: usize = 4;

/// A change under way (docs/protocol.md, 8.2): no fact about its inodes is true until it has ended.
#[derive(Debug)]
#[must_use = "the change ends when this is dropped"]
pub struct Change<'a> {
    answers: &'a Answers,
    indices: [u32; CHANGED_MAX],
    len: usize,
}

impl Change<'_> {
    fn add(&mut self, index: u32) {
        if let Some(place) = self.indices.get_mut(self.len) {
            *place = index;
            self.len += 1;
            generation::begin_change(&*self.answers.memory, index);
        }
    }
}

/// A change of everything under way.
#[derive(Debug)]
#[must_use = "the change ends when this is dropped"]
pub struct ChangeOfAll<'a>(&'a Answers);

impl Drop for ChangeOfAll<'_> {
    fn drop(&mut self) {
        for index in 0..GENERATIONS as u32 {
            generation::end_change(&*self.0.memory, index);
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        for index in &self.indices[..self.len] {
            generation::end_change(&*self.answers.memory, *index);
        }
    }
}
