//! Statistics (protocol 12).

use super::explore;
use crate::kernel::{Ask, Kernel, Request};
use loom::{sync::Arc, thread};
use transport::{
    counters::Snapshot,
    cq::Engine,
    memory::Memory,
    session::Session,
    testing::{Heap, small},
};

/// Somebody reads the counters while the program answers and dispatches: there are never more
/// outcomes than arrivals, and in the end they add up.
pub fn add_up(preemptions: Option<usize>) {
    explore(preemptions, || {
        let mut geometry = small(Engine::Kernel);
        geometry.depth = 1;
        let memory = Arc::new(Heap::new(&geometry));
        Session::start(memory.control().expect("there is one"));
        let requests = [Request::new(2, Ask::Answer), Request::new(4, Ask::Dispatch)];
        let mut kernel = Kernel::new(memory.clone(), geometry, &requests);
        let reader = {
            let memory = memory.clone();
            thread::spawn(move || {
                let seen = Snapshot::of(&memory.counters(0).expect("there are").program);
                let outcomes = seen.answered + seen.dispatched + seen.denied + seen.standing;
                assert!(outcomes <= seen.arrivals, "{seen:?}");
            })
        };
        kernel.turn();
        kernel.turn();
        reader.join().expect("the reader ends");
        let counters = &memory.counters(0).expect("there are").program;
        let end = Snapshot::of(counters);
        let expected = Snapshot {
            arrivals: 2,
            answered: 1,
            dispatched: 1,
            ..Snapshot::default()
        };
        assert_eq!(end, expected);
        assert_eq!(end.undecided(), 0);
    });
}
