//! Facts (protocol 8.3).

use super::explore;
use loom::{sync::Arc, thread};
use transport::{
    fact::{Fact, FactWriter},
    layout::Blank,
};

/// A fact is rewritten while it is read: the reader gets all of one writing, or nothing.
pub fn is_never_torn(preemptions: Option<usize>) {
    explore(preemptions, || {
        let fact = Arc::new(Fact::<2>::blank());
        let mut writer = FactWriter::default();
        fact.write(&[1, 1], &mut writer);
        let daemon = {
            let fact = fact.clone();
            thread::spawn(move || {
                fact.write(&[2, 2], &mut writer);
                fact.write(&[3, 3], &mut writer);
            })
        };
        let mut copy = [0; 2];
        if fact.read(&mut copy) {
            assert_eq!(copy[0], copy[1], "a torn fact");
        }
        daemon.join().expect("the daemon ends");
    });
}

/// The daemon writes a fact anew while a program renews it: the reader gets all of one writing.
pub fn has_one_writer_at_a_time(preemptions: Option<usize>) {
    explore(preemptions, || {
        let fact = Arc::new(Fact::<2>::blank());
        let daemon = {
            let fact = fact.clone();
            thread::spawn(move || fact.write(&[1, 1], &mut FactWriter::default()))
        };
        let program = {
            let fact = fact.clone();
            thread::spawn(move || {
                fact.renew(
                    |_| true,
                    |put| {
                        put(0, 2);
                        put(1, 2);
                    },
                )
            })
        };
        let mut copy = [0; 2];
        if fact.read(&mut copy) {
            assert_eq!(copy[0], copy[1], "a torn fact");
        }
        let written = daemon.join().expect("the daemon ends");
        let renewed = program.join().expect("the program ends");
        assert!(fact.read(&mut copy), "nobody writes any more");
        assert_eq!(copy[0], copy[1], "a fact of two writers");
        assert!(copy[0] != 0 || !(written || renewed));
    });
}
