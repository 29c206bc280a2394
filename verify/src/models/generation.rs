//! Generations: a cached answer is never wrong (protocol 8.1, 8.2).

use super::explore;
use loom::{
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    thread,
};
use transport::{
    fact::{Fact, FactWriter},
    generation::{ENDLESS, Stamp, begin_change, bump, bump_without_end, end_change, endless},
    layout::Blank,
    memory::GenerationMemory,
    mutant::{Mutant, is_mutant},
    sync::GenerationWord,
};

/// One inode: what it is in the lower file system, and what is cached of it.
struct Inode {
    generations: [GenerationWord; 1],
    /// The attribute. Who reads it sees what happened before it was written, as with any inode that
    /// is looked at by system call.
    lower: AtomicU64,
    /// Words: attribute, stamp.
    fact: Fact<2>,
}

impl Inode {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            generations: Blank::blank(),
            lower: AtomicU64::new(0),
            fact: Blank::blank(),
        })
    }

    /// Fills the cache, as the daemon does.
    fn fill(&self, writer: &mut FactWriter) {
        let late = is_mutant(Mutant::GenerationStampLate);
        let early_stamp = Stamp::take(&self.generations, 0);
        let value = self.lower.load(Acquire);
        let stamp = if late {
            Stamp::take(&self.generations, 0)
        } else {
            early_stamp
        };
        if let Some(stamp) = stamp {
            // 1 is added, for a fact never written reads as zeroes.
            self.fact.write(&[value, stamp.value + 1], writer);
        }
    }

    /// Changes the attribute, as a request through the mount does.
    fn change(&self, to: u64) {
        if is_mutant(Mutant::GenerationNoBegin) {
            self.lower.store(to, Release);
            return bump(&self.generations, 0);
        }
        begin_change(&self.generations, 0);
        if is_mutant(Mutant::GenerationEndsEarly) {
            end_change(&self.generations, 0);
        }
        self.lower.store(to, Release);
        if !is_mutant(Mutant::GenerationEndsEarly) {
            end_change(&self.generations, 0);
        }
    }

    /// Changes the attribute behind the mount's back, where the change is noticed as it ends.
    fn change_below(&self, to: u64) {
        self.lower.store(to, Release);
        if !is_mutant(Mutant::GenerationNoBump) {
            bump(&self.generations, 0);
        }
    }

    /// What the program answers, if it does.
    fn cached(&self) -> Option<u64> {
        let mut words = [0; 2];
        let whole = self.fact.read(&mut words);
        let stamp = Stamp {
            index: 0,
            value: words[1].checked_sub(1)?,
        };
        (whole && stamp.is_valid(&self.generations)).then_some(words[0])
    }
}

/// A fill races a change behind the mount's back. After the change has returned, no answer is the old
/// one.
pub fn no_stale_answer_after_a_change(preemptions: Option<usize>) {
    explore(preemptions, || {
        let inode = Inode::new();
        let filler = {
            let inode = inode.clone();
            thread::spawn(move || inode.fill(&mut FactWriter::default()))
        };
        inode.change_below(7);
        assert_ne!(inode.cached(), Some(0), "stale while the fill is under way");
        filler.join().expect("the filler ends");
        assert_ne!(inode.cached(), Some(0), "stale after the fill");
    });
}

/// A change through the mount, while somebody else fills the cache, and a third has seen the new
/// attribute by another way: no answer after that is the old one, whenever the fact was filled.
pub fn no_answer_goes_back(preemptions: Option<usize>) {
    explore(preemptions, || {
        let inode = Inode::new();
        let mut writer = FactWriter::default();
        inode.fill(&mut writer);
        assert_eq!(inode.cached(), Some(0));
        let changer = {
            let inode = inode.clone();
            thread::spawn(move || inode.change(7))
        };
        let filler = {
            let inode = inode.clone();
            thread::spawn(move || inode.fill(&mut writer))
        };
        if inode.lower.load(Acquire) == 7 {
            assert_ne!(
                inode.cached(),
                Some(0),
                "an answer older than what was seen"
            );
        }
        changer.join().expect("the changer ends");
        filler.join().expect("the filler ends");
    });
}

/// Two fills race two changes, and the program reads meanwhile: what it answers is what the inode was
/// at some moment of its reading.
pub fn answers_are_of_the_moment(preemptions: Option<usize>) {
    explore(preemptions, || {
        let inode = Inode::new();
        let changer = {
            let inode = inode.clone();
            thread::spawn(move || {
                inode.change(1);
                inode.change(2);
            })
        };
        let filler = {
            let inode = inode.clone();
            thread::spawn(move || {
                let mut writer = FactWriter::default();
                inode.fill(&mut writer);
                inode.fill(&mut writer);
            })
        };
        let before = inode.lower.load(Acquire);
        if let Some(answer) = inode.cached() {
            assert!(
                answer >= before,
                "{answer} was over before the request came"
            );
        }
        changer.join().expect("the changer ends");
        filler.join().expect("the filler ends");
        if let Some(answer) = inode.cached() {
            assert_eq!(answer, 2, "stale at rest");
        }
    });
}

/// A directory: the words of its own generation and of [`ENDLESS`].
struct Directory {
    words: [GenerationWord; 2],
    /// Its name, which is changed under its lock and looked at without.
    name: AtomicU64,
    lock: Mutex<()>,
}

impl GenerationMemory for Directory {
    fn generation(&self, index: u32) -> Option<&GenerationWord> {
        self.words.get(usize::from(index == ENDLESS))
    }
}

impl Directory {
    /// What was found and the stamp of it, as the daemon looks: the lock was passed when the changes without
    /// an end had gone as far as `passed`.
    fn look(&self, passed: u64) -> Option<(u64, Stamp)> {
        let early = endless(self)?;
        let stamp = Stamp::take(self, 0)?;
        let now = if is_mutant(Mutant::EndlessAskedEarly) {
            early
        } else {
            endless(self)?
        };
        if now != passed {
            drop(self.lock.lock());
        }
        Some((self.name.load(Acquire), stamp))
    }
}

/// A name changes under the directory's lock, behind the generation and without an end that is noticed,
/// while somebody looks who has passed the lock before: what was found is right, or not true for long.
pub fn no_name_outlives_an_endless_change(preemptions: Option<usize>) {
    explore(preemptions, || {
        let directory = Arc::new(Directory {
            words: Blank::blank(),
            name: AtomicU64::new(0),
            lock: Mutex::new(()),
        });
        let passed = endless(&*directory).expect("the word is there");
        let changer = {
            let directory = directory.clone();
            thread::spawn(move || {
                let _held = directory.lock.lock();
                bump_without_end(&*directory, 0);
                directory.name.store(7, Release);
            })
        };
        let found = directory.look(passed);
        changer.join().expect("the changer ends");
        if let Some((name, stamp)) = found
            && stamp.is_valid(&*directory)
        {
            assert_eq!(name, 7, "an old name under a generation that holds");
        }
    });
}
