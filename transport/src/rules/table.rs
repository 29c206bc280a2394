//! The rule book as it lies in memory: two tables, of which one is in force.
//!
//! ```text
//!  book    | epoch | writer | 128 states: counts, bucket |  table 0  |  table 1  |
//!  table   | heads | rules by opcode | 64 rules | 256 names | text |
//! ```
//!
//! Who writes takes the writer's word, writes the table that is not in force, and puts it into force by
//! the epoch. Who reads loads the epoch, reads, and loads it again: what was read is one table if it
//! has not moved, since nobody writes over a table before the other one is in force (SP-RULES).

use super::rule::{Action, Terms};
use crate::{
    cache::{Key, KeyWords, Kind, NAME_MAX},
    layout::Blank,
    sync::{RuleBucket, RuleWord, RuleWriter, RulesEpoch, RulesShown, Tally},
};

/// Rules of a table at most: a request's candidates are the bits of a word.
pub const RULES_MAX: usize = 64;
/// Places in which requests are counted. A rule that is replaced by its equal keeps its place, so the
/// rules of two tables must find room.
pub const STATES: usize = 2 * RULES_MAX;
/// Names that a table's rules speak of, at most. They lie in sets of [`NAME_WAYS`], and a set may be
/// full before that.
pub const NAMES_MAX: usize = 256;
/// Names of a set.
pub const NAME_WAYS: usize = 8;
/// Bytes of the text that a table was made from, at most.
pub const TEXT_MAX: usize = 32 << 10;
/// Words of a rule.
pub const RULE_WORDS: usize = 16;
/// Words of a name before its bytes: length and hash, and the rules that speak of it.
pub const NAME_HEAD: usize = 4;
/// Words of a name.
pub const NAME_WORDS: usize = NAME_HEAD + NAME_MAX / 8;
/// Rows of rules by opcode.
pub const ROWS: usize = 64;

/// Set in the epoch: there is a rule.
pub(super) const ANY: u64 = 1 << 1;
/// Set in the epoch: the second table is in force.
pub(super) const SECOND: u64 = 1;
/// What the epoch grows by with each table.
const STEP: u64 = 1 << 2;

/// A rule's words, see [`rule`](super::rule).
pub type RuleWords = [RuleWord; RULE_WORDS];

/// One table of rules.
#[repr(C)]
#[derive(Debug)]
pub struct Table {
    /// How many rules there are.
    pub(super) len: RuleWord,
    /// The rules that ask for a name, as bits.
    pub(super) by_name: RuleWord,
    /// The rules that only count, as bits.
    pub(super) counts: RuleWord,
    /// The rules that ask where the inode lies, as bits.
    pub(super) by_subtree: RuleWord,
    /// Bytes of the text.
    pub(super) text_len: RuleWord,
    /// Unused.
    pub(super) reserved: [RuleWord; 3],
    /// By opcode: the rules that may meet such a request, as bits.
    pub(super) by_opcode: [RuleWord; ROWS],
    /// The rules, the first before all others.
    pub(super) rules: [RuleWords; RULES_MAX],
    /// Names, by hash.
    pub(super) names: [[RuleWord; NAME_WORDS]; NAMES_MAX],
    /// What the table was made from.
    pub(super) text: [RuleWord; TEXT_MAX / 8],
}

impl Blank for Table {
    fn blank() -> Self {
        Self {
            len: RuleWord::default(),
            by_name: RuleWord::default(),
            counts: RuleWord::default(),
            by_subtree: RuleWord::default(),
            text_len: RuleWord::default(),
            reserved: Blank::blank(),
            by_opcode: Blank::blank(),
            rules: core::array::from_fn(|_| Blank::blank()),
            names: core::array::from_fn(|_| Blank::blank()),
            text: Blank::blank(),
        }
    }
}

/// What is counted of a rule, and its token bucket.
#[repr(C)]
#[derive(Default, Debug)]
pub struct RuleState {
    /// Requests that met the rule.
    pub met: Tally,
    /// Of these, refused because there were too many.
    pub limited: Tally,
    /// What the rule's limit has been drawn upon.
    pub bucket: RuleBucket,
    /// Unused.
    pub reserved: RuleWord,
}

impl RuleState {
    /// For a rule that begins.
    pub fn clear(&self) {
        self.met.clear();
        self.limited.clear();
        self.bucket.fill();
    }
}

/// The rule book of a mount.
#[repr(C)]
#[derive(Debug)]
pub struct RuleBook<const TABLES: usize = 2> {
    /// Which table is in force.
    pub(super) epoch: RulesEpoch,
    /// Which process writes.
    pub writer: RuleWriter,
    /// Which table the daemon shows attributes by.
    pub shown: RulesShown,
    /// Unused.
    pub(super) reserved: [RuleWord; 5],
    /// By the number that a rule names.
    pub(super) states: [RuleState; STATES],
    /// The tables.
    pub(super) tables: [Table; TABLES],
}

impl Blank for RuleBook {
    fn blank() -> Self {
        Self {
            epoch: RulesEpoch::default(),
            writer: RuleWriter::default(),
            shown: RulesShown::default(),
            reserved: Blank::blank(),
            states: core::array::from_fn(|_| RuleState::default()),
            tables: [Table::blank(), Table::blank()],
        }
    }
}

/// A table as values, to be put into force.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// The words of each rule, the first before all others; at most [`RULES_MAX`].
    pub rules: &'a [[u64; RULE_WORDS]],
    /// By row: the rules that may meet such a request, as bits.
    pub by_opcode: &'a [u64; ROWS],
    /// Names, with the rules that speak of them as bits.
    pub names: &'a [(&'a [u8], u64)],
    /// What it was made from; at most [`TEXT_MAX`] bytes.
    pub text: &'a [u8],
}

/// Why a table cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// More than [`RULES_MAX`] rules.
    Rules,
    /// There is no room for a name: the `usize`th.
    Name(usize),
    /// The text is longer than [`TEXT_MAX`].
    Text,
}

impl RuleBook {
    /// Whether there is any rule: what every request pays for.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.epoch.begin() & ANY == 0
    }

    /// How often a table was put into force.
    pub fn generation(&self) -> u64 {
        self.epoch.begin() / STEP
    }

    /// What is counted of the rule that names this place.
    #[inline(always)]
    pub fn state(&self, place: usize) -> Option<&RuleState> {
        self.states.get(place)
    }

    /// Whether a rule in force speaks of this name.
    pub fn speaks_of(&self, name: &[u8]) -> bool {
        loop {
            let epoch = self.epoch.begin();
            let Some(table) = self.tables.get((epoch & SECOND) as usize) else {
                return false;
            };
            let speaks =
                epoch & ANY != 0 && table.rules_of_name(name, name.len(), |word| word) != 0;
            if !self.epoch.has_moved(epoch) {
                return speaks;
            }
        }
    }

    /// The text that the table in force was made from, into `into`; `None` while it is replaced.
    pub fn text<'t>(&self, into: &'t mut [u8; TEXT_MAX]) -> Option<&'t [u8]> {
        let epoch = self.epoch.begin();
        let table = self.tables.get((epoch & SECOND) as usize)?;
        let len = (table.text_len.get() as usize).min(TEXT_MAX);
        for (bytes, word) in into
            .chunks_exact_mut(8)
            .zip(&table.text)
            .take(len.div_ceil(8))
        {
            bytes.copy_from_slice(&word.get().to_ne_bytes());
        }
        (!self.epoch.has_moved(epoch)).then_some(&into[..len])
    }

    /// The words of the rules in force, into `into`, and how many they are; `None` while they are
    /// replaced.
    pub fn rules(&self, into: &mut [[u64; RULE_WORDS]; RULES_MAX]) -> Option<usize> {
        let epoch = self.epoch.begin();
        let table = self.tables.get((epoch & SECOND) as usize)?;
        let len = (table.len.get() as usize).min(RULES_MAX);
        for (words, rule) in into.iter_mut().zip(&table.rules).take(len) {
            for (to, word) in words.iter_mut().zip(rule) {
                *to = word.get();
            }
        }
        (!self.epoch.has_moved(epoch)).then_some(len)
    }

    /// Writes `draft` into the table that is not in force, and puts it into force. The caller holds
    /// the [writer's word](Self::writer).
    ///
    /// # Errors
    ///
    /// [`Unfit`]; then the other table stays in force.
    pub fn replace(&self, draft: &Draft<'_>) -> Result<(), Unfit> {
        if draft.rules.len() > RULES_MAX {
            return Err(Unfit::Rules);
        }
        if draft.text.len() > TEXT_MAX {
            return Err(Unfit::Text);
        }
        let epoch = self.epoch.begin();
        let second = (epoch & SECOND) ^ SECOND;
        let table = &self.tables[second as usize];
        table.fill(draft)?;
        let any = if draft.rules.is_empty() { 0 } else { ANY };
        let next = (epoch & !(STEP - 1)).wrapping_add(STEP);
        self.epoch.publish(next | any | second);
        Ok(())
    }
}

impl Table {
    fn fill(&self, draft: &Draft<'_>) -> Result<(), Unfit> {
        self.len.set(draft.rules.len() as u64);
        for (to, from) in self.by_opcode.iter().zip(draft.by_opcode) {
            to.set(*from);
        }
        for (to, from) in self.rules.iter().zip(draft.rules) {
            for (to, from) in to.iter().zip(from) {
                to.set(*from);
            }
        }
        let bits = |has: fn(&Terms) -> bool| {
            let rules = draft.rules.iter().enumerate();
            let has = rules.map(|(index, words)| {
                u64::from(Terms::decode(words).is_some_and(|terms| has(&terms))) << index
            });
            has.sum()
        };
        self.counts.set(bits(|terms| terms.action == Action::Count));
        self.by_subtree.set(bits(|terms| terms.subtree != 0));
        self.text_len.set(draft.text.len() as u64);
        for (to, from) in self.text.iter().zip(draft.text.chunks(8)) {
            to.set(from.word(0));
        }
        for name in &self.names {
            name[0].set(0);
        }
        let mut by_name = 0;
        for (index, (name, rules)) in draft.names.iter().enumerate() {
            self.put_name(name, *rules).ok_or(Unfit::Name(index))?;
            by_name |= rules;
        }
        self.by_name.set(by_name);
        Ok(())
    }

    fn put_name(&self, name: &[u8], rules: u64) -> Option<()> {
        let key = name_key(name, name.len());
        let hash = key.hash();
        let set = first_of_set(hash);
        let place = self.names.get(set..set + NAME_WAYS)?;
        let place = place.iter().find(|place| place[0].get() == 0)?;
        let [len, hashed, mask, _, bytes @ ..] = place;
        len.set(name.len() as u64);
        hashed.set(hash);
        mask.set(rules);
        for (index, to) in bytes.iter().enumerate() {
            to.set(name.word(index));
        }
        Some(())
    }

    /// The rules that speak of a name, as bits.
    #[inline(always)]
    pub(super) fn rules_of_name<K: KeyWords + ?Sized>(
        &self,
        name: &K,
        len: usize,
        launder: impl Fn(u64) -> u64,
    ) -> u64 {
        let hash = launder(name_key(name, len).hash());
        let first = first_of_set(hash);
        for way in 0..NAME_WAYS {
            let Some([length, hashed, rules, _, bytes @ ..]) = self.names.get(first + way) else {
                return 0;
            };
            if length.get() == len as u64 && hashed.get() == hash && is_same(bytes, name, len) {
                return rules.get();
            }
        }
        0
    }
}

#[inline(always)]
fn is_same<K: KeyWords + ?Sized>(bytes: &[RuleWord], name: &K, len: usize) -> bool {
    for (index, word) in bytes.iter().enumerate() {
        if index * 8 >= len {
            break;
        }
        if word.get() != name.word(index) {
            return false;
        }
    }
    true
}

#[inline(always)]
fn name_key<K: ?Sized>(name: &K, len: usize) -> Key<'_, K> {
    Key {
        kind: Kind::Denied,
        nodeid: 0,
        name,
        len,
    }
}

#[inline(always)]
fn first_of_set(hash: u64) -> usize {
    (hash as usize % (NAMES_MAX / NAME_WAYS)) * NAME_WAYS
}

#[cfg(not(shmfuse_loom))]
const _: () = {
    assert!(size_of::<RuleState>() == 32);
    assert!(size_of::<RuleBook>().is_multiple_of(8));
};
