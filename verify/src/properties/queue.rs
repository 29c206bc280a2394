//! A whole queue in either engine, step by step in any order: every request ends once, with its own
//! reply.

use crate::{
    daemon::{Daemon, QUEUE, commit, daemon_ring, ring},
    input::Input,
    kernel::{Ask, End, Kernel, Request},
};
use std::sync::Arc;
use transport::{
    counters::Snapshot,
    cq::Engine,
    index::{RingIndex, SlotIndex},
    memory::{Geometry, Memory},
    restart::{Inheritance, inherit},
    session::Session,
    slot::Reply,
    testing::{Heap, small},
};

fn ask(input: &mut Input<'_>) -> Ask {
    match input.choice(3) {
        0 => Ask::Answer,
        1 => Ask::Dispatch,
        _ => Ask::Leave,
    }
}

/// A new consumer takes over between two steps of the old one.
fn restart<'m>(memory: &'m Arc<Heap>, geometry: Geometry) -> Daemon<'m> {
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
            Inheritance::Unfinished(taken) => daemon.reply(taken, index, Reply::Errno(5)),
            Inheritance::Unpublished(unpublished) => {
                let commit = commit(&geometry, index);
                unpublished
                    .publish(daemon.sq(), commit)
                    .expect("there is room");
            }
        }
    }
    daemon
}

/// Requests come, the kernel turns, the daemon serves or is replaced, in any order; in the end all
/// is served.
pub fn queue(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let engine = if input.choice(2) == 0 {
        Engine::Worker
    } else {
        Engine::Kernel
    };
    let geometry = small(engine);
    let memory = Arc::new(Heap::new(&geometry));
    Session::start(memory.control().expect("there is one"));
    let mut kernel = Kernel::new(memory.clone(), geometry, &[]);
    let mut daemon = Daemon::new(&memory, geometry);
    let mut submitted = daemon.sq().tail();
    let mut requests = 0;
    // One turn of the kernel: of the poll thread, or of the worker's io_uring_enter.
    let mut turn = |kernel: &mut Kernel, daemon: &mut Daemon<'_>| {
        if engine == Engine::Kernel {
            return kernel.turn();
        }
        daemon.sq().resync();
        let count = daemon.sq().tail().distance_from(submitted) as u32;
        submitted = submitted.plus(kernel.submit(RingIndex::PROGRAM, count));
        let did = kernel.task_work() || count > 0;
        daemon.sq().resync();
        // Before the worker enters again it has looked at every completion (6.6).
        while daemon.step() {}
        did
    };
    while !input.is_over() {
        match input.choice(5) {
            0 | 1 => {
                requests += 1;
                kernel.push(Request::new(2 * requests, ask(&mut input)));
            }
            2 => {
                turn(&mut kernel, &mut daemon);
            }
            3 => {
                daemon.step();
            }
            _ => daemon = restart(&memory, geometry),
        }
    }
    while turn(&mut kernel, &mut daemon) | daemon.step() {}

    assert_eq!(kernel.refused, 0);
    assert_eq!(kernel.ended.len() as u64, requests, "{:?}", kernel.ended);
    assert!(kernel.ended.iter().all(|(_, end)| *end == End::Replied));
    let counters = Snapshot::of(&memory.counters(0).expect("there are").program);
    assert_eq!((counters.arrivals, counters.undecided()), (requests, 0));
    assert!(!daemon.has_work());
}
