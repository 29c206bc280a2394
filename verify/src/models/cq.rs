//! Completions (protocol 6).

use super::explore;
use crate::kernel::{Ask, Request};
use crate::{engine::all_are_replied, rt::pause};
use loom::{sync::Arc, thread};
use transport::{
    cq::CqReader,
    index::Position,
    layout::{Blank, Ring},
};

/// Completions that the program leaves standing, and ones that it consumes, on the same rings: each
/// request is dealt with by one side, and the head never passes a completion that nobody saw.
pub fn head_is_a_token(preemptions: Option<usize>) {
    explore(preemptions, || {
        all_are_replied(
            2,
            &[
                Request::new(2, Ask::Leave),
                Request::new(4, Ask::Answer),
                Request::new(6, Ask::Answer),
            ],
        );
    });
}

/// Three completions through a CQ of two places, over the wrap, all for the daemon: it reads each
/// whole and once, and the kernel writes none before its place was given back.
pub fn gives_places_back(preemptions: Option<usize>) {
    explore(preemptions, || {
        let ring = Arc::new(Ring::<2, 2>::blank());
        let start = Position(u32::MAX);
        ring.words.cq_head.consume(start);
        ring.words.cq_tail.publish(start);
        let kernel = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut tail = start;
                for n in 1..=3 {
                    while tail.distance_from(ring.words.cq_head.kernel_observes()) == 2 {
                        pause();
                    }
                    let cqe = &ring.cqes[tail.place::<2>()];
                    cqe.user_data.set(n);
                    cqe.res.set(0);
                    cqe.flags.set(0);
                    tail = tail.next();
                    ring.words.cq_tail.publish(tail);
                }
            })
        };
        let mut reader = CqReader::new(&ring);
        for n in 1..=3 {
            let cqe = loop {
                match reader.front().expect("nothing is corrupt") {
                    Some(cqe) => break cqe,
                    None => pause(),
                }
            };
            assert_eq!(cqe.user_data, n);
            reader.consume();
        }
        kernel.join().expect("the kernel ends");
    });
}
