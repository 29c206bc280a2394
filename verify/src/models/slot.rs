//! Life of a slot (protocol 3), in the kernel engine.

use super::explore;
use crate::engine::all_are_replied;
use crate::{
    daemon::{Daemon, commit, daemon_ring, ring},
    kernel::{Ask, Request},
};
use transport::{
    cq::Engine,
    error::Corrupt,
    index::{Position, SlotIndex},
    memory::Memory,
    slot::{CommitError, Reply},
    testing::{Heap, small},
};

/// Three requests, one after the other in one slot: the program answers the first, the daemon the
/// second, the program the third, so that the entry wanders from ring to ring and back. Each ends
/// once, with its own reply.
pub fn wanders_between_rings(preemptions: Option<usize>) {
    explore(preemptions, || {
        all_are_replied(
            1,
            &[
                Request::new(2, Ask::Answer),
                Request::new(4, Ask::Dispatch),
                Request::new(6, Ask::Answer),
            ],
        );
    });
}

/// Two slots, whose requests are the daemon's and the program's at the same time.
pub fn two_slots_do_not_mix(preemptions: Option<usize>) {
    explore(preemptions, || {
        all_are_replied(
            2,
            &[
                Request::new(2, Ask::Dispatch),
                Request::new(4, Ask::Answer),
                Request::new(6, Ask::Dispatch),
            ],
        );
    });
}

/// A request in the daemon's hands, whose slot somebody scribbles on before the commit: the commit
/// id is the one that was taken, and a slot that has gone on is not committed.
pub fn survives_scribbles(preemptions: Option<usize>) {
    explore(preemptions, || {
        for scribble_word in [false, true] {
            let geometry = small(Engine::Worker);
            let memory = loom::sync::Arc::new(Heap::new(&geometry));
            let slot = memory.slot(0).expect("there is one");
            slot.header.unique().set(2);
            slot.header.commit_id().set(2);
            let taken = slot.take_standing().expect("the header is right");
            slot.header.unique().set(4);
            slot.header.commit_id().set(4);
            assert!(matches!(taken.header(), Err(Corrupt::Header { .. })));
            if scribble_word {
                slot.word.scribble(4 << 3 | 1);
            }
            let mut daemon = Daemon::new(&memory, geometry);
            let result = taken.commit(
                Reply::Errno(5),
                daemon.sq(),
                commit(&geometry, SlotIndex(0)),
            );
            let ring = ring(&memory, &geometry, daemon_ring(&geometry));
            let tail = ring.words.sq_tail.own();
            if scribble_word {
                assert!(matches!(result, Err(CommitError::Overtaken(_))));
                assert_eq!(tail, Position::ZERO, "a commit of a slot that has gone on");
            } else {
                assert!(result.is_ok());
                assert_eq!(ring.sqes[0].commit_id(), 2, "a commit of the next request");
            }
        }
    });
}
