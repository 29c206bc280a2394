//! Taking over from a consumer that has ended (protocol 9).

use super::explore;
use crate::engine::{Futex, run, serve};
use crate::{
    daemon::{Daemon, QUEUE, commit, daemon_ring, ring},
    kernel::{Ask, End, Request},
};
use loom::sync::Arc;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use transport::{
    index::SlotIndex,
    memory::{Geometry, Memory},
    mutant::{Crash, crash_at},
    restart::{Inheritance, inherit},
    slot::Reply,
    testing::Heap,
};

/// `EIO`.
const EIO: i32 = 5;

/// Serves, and dies at the `n`th crash point; returns whether it did.
fn dies(memory: &Arc<Heap>, geometry: Geometry, futex: &Futex, n: u32) -> bool {
    crash_at(n);
    let life = catch_unwind(AssertUnwindSafe(|| {
        let park = memory.park(0).expect("there is one");
        serve(&mut Daemon::new(memory, geometry), park, futex);
    }));
    crash_at(0);
    match life {
        Ok(()) => false,
        Err(payload) if payload.is::<Crash>() => true,
        Err(payload) => resume_unwind(payload),
    }
}

/// Takes over, as protocol 9.3 says, and serves.
fn succeeds(memory: &Arc<Heap>, geometry: Geometry, futex: &Futex) {
    let mut daemon = Daemon::new(memory, geometry);
    let tail = ring(memory, &geometry, daemon_ring(&geometry))
        .words
        .sq_tail
        .own();
    for index in 0..geometry.depth {
        let index = SlotIndex(index as u16);
        let slot = memory
            .slot(index.element(QUEUE, geometry.depth))
            .expect("it is there");
        match inherit(slot, tail).expect("the slot word is right") {
            Inheritance::None => {}
            Inheritance::Unfinished(taken) => daemon.reply(taken, index, Reply::Errno(EIO)),
            Inheritance::Unpublished(commit_of_it) => commit_of_it
                .publish(daemon.sq(), commit(&geometry, index))
                .expect("there is room"),
        }
    }
    let park = memory.park(0).expect("there is one");
    serve(&mut daemon, park, futex);
}

/// The consumer dies at each step of the protocol in turn, while the poll thread and the program go
/// on. Its successor loses no request and answers none twice; at most one ends with `EIO`.
pub fn loses_nothing(preemptions: Option<usize>) {
    for n in 1..=5 {
        explore(preemptions, move || {
            let requests = [
                Request::new(2, Ask::Dispatch),
                Request::new(4, Ask::Dispatch),
            ];
            let ended = run(1, &requests, |memory, geometry, futex| {
                if dies(memory, geometry, futex, n) {
                    succeeds(memory, geometry, futex);
                }
            });
            assert_eq!(ended.len(), requests.len());
            let failed = ended.iter().filter(|(_, end)| *end != End::Replied);
            assert!(failed.clone().count() <= 1, "{ended:?}");
            assert!(failed.into_iter().all(|(_, end)| *end == End::Errno(-EIO)));
        });
    }
}
