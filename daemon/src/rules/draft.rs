//! A checked file as the words of a rule book.

use super::spec::{RuleSpec, Spec};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use transport::rules::{
    Action, NAMES_MAX, TEXT_MAX, Terms,
    table::{Draft, ROWS, RULE_WORDS, STATES, Unfit},
};

/// The words of a table, kept for as long as it is written.
#[derive(Clone, Debug)]
pub struct Words {
    rules: Vec<[u64; RULE_WORDS]>,
    by_opcode: [u64; ROWS],
    names: BTreeMap<String, u64>,
    text: String,
    /// Places that rules begin to be counted in.
    pub fresh: Vec<usize>,
}

/// Rules in force, each with the place that it is counted in.
pub type InForce = Vec<(RuleSpec, usize)>;

impl Words {
    /// The words of `spec`. A rule that is in force as it is goes on being counted where it is.
    /// `number_of` is the number that users see of a directory below the root of the mount.
    ///
    /// # Errors
    ///
    /// What `number_of` says; [`Error::Refused`] if there is no room for the text.
    pub fn of(
        spec: &Spec,
        in_force: &InForce,
        number_of: impl Fn(&str) -> Result<u64>,
    ) -> Result<Self> {
        let mut used: Vec<usize> = in_force.iter().map(|(_, place)| *place).collect();
        let mut words = Self {
            rules: Vec::new(),
            by_opcode: [0; ROWS],
            names: BTreeMap::new(),
            text: spec
                .document
                .clone()
                .with_directories(&number_of)?
                .to_text()?,
            fresh: Vec::new(),
        };
        for (index, rule) in spec.rules.iter().enumerate() {
            let same = in_force.iter().find(|(other, _)| other == rule);
            let place = match same {
                Some((_, place)) => *place,
                None => {
                    let free = (0..STATES).find(|place| !used.contains(place));
                    let free = free.expect("two tables have no more rules than there are places");
                    used.push(free);
                    words.fresh.push(free);
                    free
                }
            };
            words.put(index, rule, place, &number_of)?;
        }
        Ok(words)
    }

    fn put(
        &mut self,
        index: usize,
        rule: &RuleSpec,
        place: usize,
        number_of: impl Fn(&str) -> Result<u64>,
    ) -> Result<()> {
        let (interval_ns, burst) = rule.limit;
        let span_ns = burst.saturating_sub(1).saturating_mul(interval_ns);
        let subtree = rule.subtree.as_deref().map(number_of).transpose()?;
        let terms = Terms {
            uid: rule.uid,
            gid: rule.gid,
            pid: rule.pid,
            size: rule.size,
            nodeid: rule.nodeid,
            subtree: subtree.unwrap_or(0),
            interval_ns,
            span_ns,
            ..Terms::new(rule.action, place as u8)
        };
        debug_assert!(interval_ns > 0 || !matches!(rule.action, Action::Limit(_)));
        self.rules.push(terms.encode());
        for (row, rules) in self.by_opcode.iter_mut().enumerate() {
            *rules |= (rule.rows >> row & 1) << index;
        }
        for name in &rule.names {
            *self.names.entry(name.clone()).or_default() |= 1 << index;
        }
        Ok(())
    }

    /// Hands the words to `write`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if they do not fit.
    pub fn with(&self, write: impl FnOnce(&Draft<'_>) -> Result<(), Unfit>) -> Result<()> {
        let names: Vec<_> = self
            .names
            .iter()
            .map(|(name, rules)| (name.as_bytes(), *rules))
            .collect();
        let draft = Draft {
            rules: &self.rules,
            by_opcode: &self.by_opcode,
            names: &names,
            text: self.text.as_bytes(),
        };
        write(&draft).map_err(|unfit| {
            let (why, remedy) = match unfit {
                Unfit::Rules => ("there are too many".to_owned(), "at most 64"),
                Unfit::Text => (
                    format!("their text is longer than {TEXT_MAX} bytes"),
                    "shorten names and lists",
                ),
                Unfit::Name(_) => (
                    format!("there is no room for their names; {NAMES_MAX} fit at best"),
                    "use fewer names",
                ),
            };
            Error::refused("the rules", why, remedy)
        })
    }
}
