//! A mount's rule book in memory: of a BPF map, where kernel programs judge, or of a memory file.

use super::{
    document::Source,
    draft::{InForce, Words},
    spec::Spec,
    transform::TransformSpec,
};
use crate::{
    bpf::words::SharedArray,
    error::{Error, Result},
    memory_file::memory_file,
    transform::Rule,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    thread,
    time::{Duration, Instant},
};
use transport::rules::{
    RULES_MAX, RuleBook, TEXT_MAX, Terms,
    table::{RULE_WORDS, RuleState},
};

/// What a memory file of rules is called in /proc.
pub const FILE_NAME: &str = "shmfuse-rules";
/// How long the daemon may take to show what is in force.
const SHOWN: Duration = Duration::from_secs(20);
/// How long another writer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A rule book, mapped.
#[derive(Debug)]
pub struct Book {
    memory: SharedArray<RuleBook>,
    /// By which other processes find it.
    _file: Option<OwnedFd>,
}

impl Book {
    /// An empty one, in a memory file of this process.
    ///
    /// # Errors
    ///
    /// What [`memory_file`] and mmap(2) say.
    pub fn in_file() -> Result<Self> {
        let file = memory_file(FILE_NAME, size_of::<RuleBook>() as u64)
            .map_err(|error| Error::system("cannot make memory for the rules", error))?;
        Ok(Self {
            memory: SharedArray::of_file(file.as_fd(), 1)?,
            _file: Some(file),
        })
    }

    /// The one in this memory.
    pub fn new(memory: SharedArray<RuleBook>) -> Self {
        Self {
            memory,
            _file: None,
        }
    }

    /// The book.
    pub fn get(&self) -> &RuleBook {
        self.memory.get(0).expect("the array has one element")
    }

    /// Puts other rules into force, all of them at one moment. `change` makes them of those in force;
    /// `number_of` is the number that users see of a directory below the root of the mount.
    ///
    /// # Errors
    ///
    /// What the two say, or that another process writes; then the rules in force stay.
    pub fn change(
        &self,
        change: impl FnOnce(Spec) -> Result<Spec>,
        number_of: impl Fn(&str) -> Result<u64>,
    ) -> Result<Spec> {
        let _writer = Writer::of(self.get())?;
        let (spec, in_force) = self.in_force()?;
        let spec = change(spec)?;
        let words = Words::of(&spec, &in_force, number_of)?;
        for place in &words.fresh {
            if let Some(state) = self.get().state(*place) {
                state.clear();
            }
        }
        words.with(|draft| self.get().replace(draft))?;
        Ok(spec)
    }

    /// The rules in force, each with the place that it is counted in.
    ///
    /// # Errors
    ///
    /// If they cannot be read: somebody else has written to the memory.
    pub fn in_force(&self) -> Result<(Spec, InForce)> {
        let mut text = Box::new([0; TEXT_MAX]);
        let mut words = [[0; RULE_WORDS]; RULES_MAX];
        let book = self.get();
        let start = Instant::now();
        let (text, count) = loop {
            let before = book.generation();
            let found = book.rules(&mut words);
            let len = book.text(&mut text).map(<[u8]>::len);
            if let (Some(count), Some(len)) = (found, len)
                && book.generation() == before
            {
                break (&text[..len], count);
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::refused(
                    "the rules",
                    "they do not stay as they are",
                    "",
                ));
            }
        };
        let spoilt = || {
            let why = "somebody else has written to the memory that holds them";
            Error::refused("the rules", why, "mount anew")
        };
        let text = std::str::from_utf8(text).map_err(|_| spoilt())?;
        let spec = Spec::parse(Source {
            name: "the rules in force",
            text,
        })?;
        let terms: Option<Vec<_>> = words[..count].iter().map(Terms::decode).collect();
        let terms = terms.filter(|terms| terms.len() == spec.rules.len());
        let places = terms.ok_or_else(spoilt)?;
        let places = places.iter().map(|terms| usize::from(terms.place));
        let in_force = spec.rules.iter().cloned().zip(places).collect();
        Ok((spec, in_force))
    }

    /// The transformations in force, and of which generation of the book they are.
    ///
    /// # Errors
    ///
    /// As [`in_force`](Self::in_force).
    pub fn transforms(&self) -> Result<(u64, Vec<Rule>)> {
        loop {
            let generation = self.get().generation();
            let (spec, _) = self.in_force()?;
            if self.get().generation() == generation {
                let rules = spec.transforms.iter().map(TransformSpec::rule);
                return Ok((generation, rules.collect()));
            }
        }
    }

    /// Waits until the daemon shows what is in force now, and the kernel believes nothing else. `remind`
    /// tells the daemon.
    ///
    /// # Errors
    ///
    /// It does not come to that.
    pub fn wait_until_shown(&self, remind: impl FnOnce() -> Result<()>) -> Result<()> {
        let generation = self.get().generation();
        remind()?;
        let start = Instant::now();
        while self.get().shown.generation() < generation {
            if start.elapsed() > SHOWN {
                let why = "the daemon does not go by them yet";
                return Err(Error::refused(
                    "the rules",
                    why,
                    "its log says what holds it up",
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What is counted of a rule.
    pub fn state(&self, place: usize) -> Option<&RuleState> {
        self.get().state(place)
    }
}

/// The right to write a book, until it is dropped.
struct Writer<'b>(&'b RuleBook);

impl<'b> Writer<'b> {
    /// Waits for another writer; one that has died is passed over.
    fn of(book: &'b RuleBook) -> Result<Self> {
        let us = u64::from(std::process::id());
        let start = Instant::now();
        loop {
            let holder = book.writer.holder();
            let is_free = holder == 0 || !Path::new(&format!("/proc/{holder}")).exists();
            if is_free && book.writer.exchange(holder, us) {
                return Ok(Self(book));
            }
            if start.elapsed() > PATIENCE {
                let why = format!("process {holder} is changing them");
                return Err(Error::refused(
                    "the rules",
                    why,
                    "try again, or end that process",
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.writer.exchange(u64::from(std::process::id()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<Spec> {
        Spec::parse(Source { name: "f", text })
    }

    fn rule(name: &str, more: &str) -> String {
        format!("[[rule]]\nname = '{name}'\naction = 'allow'\n{more}\n")
    }

    #[test]
    fn rules_are_added_and_removed_and_a_bad_file_changes_nothing() {
        let book = Book::in_file().unwrap();
        assert!(book.get().is_empty());
        let root = |_: &str| Ok(2);
        let two = rule("a", "uid = 1") + &rule("b", "subtree = 'x'");
        book.change(|_| text(&two), root).unwrap();
        book.change(|old| old.and(text(&rule("c", ""))?, "f"), root)
            .unwrap();
        let names = |book: &Book| {
            let (spec, _) = book.in_force().unwrap();
            spec.rules
                .into_iter()
                .map(|rule| rule.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&book), ["a", "b", "c"]);
        for bad in [rule("a", ""), rule("d", "uid = 'x'"), "x".into()] {
            let changed = book.change(|old| old.and(text(&bad)?, "f"), root);
            changed.unwrap_err();
            assert_eq!(names(&book), ["a", "b", "c"]);
        }
        let nowhere = |_: &str| Err(Error::refused("x", "no such directory", ""));
        book.change(Ok, nowhere).unwrap_err();
        book.change(|old| old.without("x"), root).unwrap_err();
        book.change(|old| old.without("b"), root).unwrap();
        assert_eq!(names(&book), ["a", "c"]);
        book.change(|_| text(""), root).unwrap();
        assert!(book.get().is_empty());
    }

    #[test]
    fn a_rule_that_stays_is_counted_on_and_one_that_changed_begins() {
        let book = Book::in_file().unwrap();
        let root = |_: &str| Ok(2);
        book.change(|_| text(&(rule("a", "") + &rule("b", ""))), root)
            .unwrap();
        let (_, before) = book.in_force().unwrap();
        for (_, place) in &before {
            book.state(*place).unwrap().met.add(7);
        }
        let other = rule("b", "") + &rule("a", "uid = 5");
        book.change(|_| text(&other), root).unwrap();
        let (_, after) = book.in_force().unwrap();
        let met = |place: usize| book.state(place).unwrap().met.get();
        assert_eq!(
            after.iter().map(|rule| met(rule.1)).collect::<Vec<_>>(),
            [7, 0]
        );
    }

    #[test]
    fn a_writer_that_died_is_passed_over() {
        let book = Book::in_file().unwrap();
        // No process has this number: it is beyond the kernel's largest (PID_MAX_LIMIT).
        assert!(book.get().writer.exchange(0, 1 << 30));
        book.change(|_| text(&rule("a", "")), |_| Ok(2)).unwrap();
        assert_eq!(book.get().writer.holder(), 0);
    }
}
