//! Counting look-ups (protocol 8.4).

use super::explore;
use loom::{sync::Arc, thread};
use transport::{
    lookups::{Remaining, bury_if_forgotten, count, counted, revive, withdraw},
    sync::LookupWord,
};

/// The program answers a LOOKUP while the daemon handles the FORGET of the only other reference:
/// either the inode lives on, or the program did not answer with it.
pub fn never_answers_with_a_dead_inode(preemptions: Option<usize>) {
    explore(preemptions, || {
        let word = Arc::new(LookupWord::new(0));
        let program = {
            let word = word.clone();
            thread::spawn(move || count(&word, 0))
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

/// Two programs answer with an inode whose word is taken away and given to another one: each answer
/// is counted for the inode it was given with.
pub fn counts_each_for_its_inode(preemptions: Option<usize>) {
    explore(preemptions, || {
        let word = Arc::new(LookupWord::new(0));
        let programs: Vec<_> = (0..2)
            .map(|_| {
                let word = word.clone();
                thread::spawn(move || u64::from(count(&word, 0)))
            })
            .collect();
        let former = withdraw(&word);
        revive(&word).expect("it is young");
        let answered: u64 = programs
            .into_iter()
            .map(|program| program.join().expect("the program ends"))
            .sum();
        assert_eq!(former, answered, "look-ups of the former inode");
        assert_eq!(counted(&word), 0, "look-ups of the next one");
    });
}
