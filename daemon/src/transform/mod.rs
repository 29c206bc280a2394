//! Transformations: owners, groups, modes and validity are shown otherwise than they are below.
//!
//! | module | what it holds |
//! | --- | --- |
//! | here | the transformations of a mount, and which of them an inode is shown by |
//! | [`acl`] | POSIX ACLs, which name users and groups as well |
//!
//! What a transformation does to a reply is `transport::transform`'s, for the kernel programs and the
//! daemon alike. What the requests on the file system make of it is `passthrough::shown`'s.

pub mod acl;

use std::sync::{
    Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};
use transport::transform::{TRANSFORMS, Transform};

/// A transformation and what is shown by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The number that users see of the directory at or below which it is in force; `None`: everywhere.
    pub subtree: Option<u64>,
    /// What it does.
    pub transform: Transform,
}

/// Rules of a mount, at most: number 0 of the map changes nothing.
pub const RULES_MAX: usize = TRANSFORMS as usize - 1;

/// The transformations of a mount, the first before all others. An inode is shown by the first one that
/// is in force where it lies, by its *number*: its place in this list plus 1, and 0 for none.
#[derive(Debug, Default)]
pub struct Transforms {
    rules: RwLock<Table>,
    any: AtomicBool,
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Table(Vec<(Option<u64>, Arc<Transform>)>);

impl Table {
    /// The rule of this number.
    pub fn get(&self, number: u32) -> Option<&Arc<Transform>> {
        let at = (number as usize).checked_sub(1)?;
        self.0.get(at).map(|(_, transform)| transform)
    }

    /// The number of what lies nowhere else: of the first rule that is in force everywhere, or at this
    /// directory.
    pub fn at(&self, shown_number: u64) -> u32 {
        let is_here = |(subtree, _): &(Option<u64>, _)| {
            subtree.is_none_or(|directory| directory == shown_number)
        };
        let first = self.0.iter().position(is_here);
        first.map_or(0, |at| at as u32 + 1)
    }

    /// The number of what lies in a directory of the number `parent`.
    pub fn within(&self, parent: u32, shown_number: u64) -> u32 {
        match (parent, self.at(shown_number)) {
            (0, own) => own,
            (parent, 0) => parent,
            (parent, own) => parent.min(own),
        }
    }

    /// Whether it matters where an inode lies.
    pub fn has_subtrees(&self) -> bool {
        self.0.iter().any(|(subtree, _)| subtree.is_some())
    }

    /// All, each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Transform)> {
        let numbered = self.0.iter().enumerate();
        numbered.map(|(at, (_, transform))| (at as u32 + 1, &**transform))
    }

    /// Puts others in their place; at most [`RULES_MAX`] are kept.
    pub fn replace(&mut self, rules: &[Rule]) {
        let rules = rules.iter().take(RULES_MAX);
        let kept = rules.map(|rule| (rule.subtree, Arc::new(rule.transform)));
        self.0 = kept.collect();
    }
}

impl Transforms {
    /// Whether there is any; said without a lock, for every request asks.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The rules, and the numbers of inodes, as they are while this lives.
    pub fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.rules
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The right to change rules, and the numbers of inodes.
    pub fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.rules
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// To be called after a change, under the same lock.
    pub fn note(&self, table: &Table) {
        self.any.store(!table.0.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_in_force_is_the_one() {
        let rule = |subtree| Rule {
            subtree,
            transform: Transform::default(),
        };
        let mut table = Table::default();
        table.replace(&[rule(Some(70)), rule(None), rule(Some(80))]);
        assert_eq!(table.at(70), 1);
        assert_eq!(table.at(80), 2, "the second is in force everywhere");
        assert_eq!(table.within(table.at(70), 80), 1);
        assert_eq!(table.within(2, 70), 1);
        assert!(table.get(3).is_some() && table.get(4).is_none() && table.get(0).is_none());
        table.replace(&[rule(Some(70)), rule(Some(80))]);
        assert_eq!(
            (table.at(1), table.within(0, 80), table.within(2, 9)),
            (0, 2, 2)
        );
        assert!(table.has_subtrees());
        table.replace(&vec![rule(None); RULES_MAX + 5]);
        assert_eq!(table.iter().last().map(|(number, _)| number), Some(63));
    }
}
