//! Two tables of rules, of which one is in force (protocol 13, SP-RULES).

use super::explore;
use loom::{sync::Arc, thread};
use transport::{
    layout::Blank,
    sync::{RuleWord, RulesEpoch},
};

/// The tables, of two words each instead of their thousands. In each word stands which replacement
/// wrote it.
struct Book {
    epoch: RulesEpoch,
    tables: [[RuleWord; 2]; 2],
}

impl Book {
    fn new() -> Self {
        Self {
            epoch: RulesEpoch::default(),
            tables: [Blank::blank(), Blank::blank()],
        }
    }

    /// As `RuleBook::replace`: the table that is not in force is written, and put into force. There is
    /// one writer at a time, and it knows where it stands.
    fn replace(&self, next: u64) {
        for word in &self.tables[next as usize % 2] {
            word.set(next);
        }
        self.epoch.publish(next);
    }
}

/// A judge races two replacements, the second of which writes over the table that was in force at
/// first: what is read is all of the table that the epoch named, or the epoch has moved.
pub fn are_of_one_table(preemptions: Option<usize>) {
    explore(preemptions, || {
        let book = Arc::new(Book::new());
        let writer = {
            let book = book.clone();
            thread::spawn(move || {
                book.replace(1);
                book.replace(2);
            })
        };
        let epoch = book.epoch.begin();
        let [one, other] = &book.tables[epoch as usize % 2];
        let words = [one.get(), other.get()];
        if !book.epoch.has_moved(epoch) {
            assert_eq!(words, [epoch; 2], "judged by parts of two tables");
        }
        writer.join().expect("the replacements end");
    });
}
