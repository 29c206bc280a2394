//! Counting look-ups (protocol 8.4).

use super::explore;
use loom::{sync::Arc, thread};
use transport::{
    lookups::{Remaining, bury_if_forgotten, count},
    sync::LookupWord,
};

/// The program answers a LOOKUP while the daemon handles the FORGET of the only other reference:
/// either the inode lives on, or the program did not answer with it.
pub fn never_answers_with_a_dead_inode(preemptions: Option<usize>) {
    explore(preemptions, || {
        let word = Arc::new(LookupWord::new(0));
        let program = {
            let word = word.clone();
            thread::spawn(move || count(&word))
        };
        let remaining = bury_if_forgotten(&word, 1, 1);
        let answered = program.join().expect("the program ends");
        assert!(
            !(answered && remaining == Remaining::Dead),
            "answered with a dead inode"
        );
        if answered {
            assert_eq!(
                bury_if_forgotten(&word, 1, 2),
                Remaining::Dead,
                "it never dies"
            );
        }
    });
}
