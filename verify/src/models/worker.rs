//! The worker engine, whole: one thread is worker, kernel and program in turns (protocol 2.3, 6.2).

use super::explore;
use crate::{
    daemon::{Daemon, QUEUE},
    kernel::{Ask, End, Kernel, Request},
};
use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};
use std::collections::VecDeque;
use transport::{
    cq::{CqReader, Engine},
    index::RingIndex,
    memory::Memory,
    session::Session,
    testing::{Heap, small},
};

const REQUESTS: [Request; 4] = [
    Request::new(2, Ask::Dispatch),
    Request::new(4, Ask::Answer),
    Request::new(6, Ask::Leave),
    Request::new(8, Ask::Answer),
];

/// Requests on their way from applications to the worker's task work.
#[derive(Default)]
struct Inbox {
    requests: Mutex<VecDeque<Request>>,
    arrived: Condvar,
}

/// `io_uring_enter(to_submit, min_complete = 1, IORING_ENTER_GETEVENTS)`: submits, runs task work, and
/// returns when a completion stands (`io_cqring_wait`).
fn enter(kernel: &mut Kernel, memory: &Heap, inbox: &Inbox, to_submit: u32) -> u32 {
    let submitted = kernel.submit(RingIndex::PROGRAM, to_submit);
    let ring = memory
        .ring(RingIndex::PROGRAM.element(QUEUE, 1))
        .expect("it is there");
    loop {
        let mut requests = inbox.requests.lock().expect("no panic");
        while let Some(request) = requests.pop_front() {
            kernel.push(request);
        }
        kernel.task_work();
        let stands = CqReader::new(ring)
            .front()
            .expect("nothing is corrupt")
            .is_some();
        // The model is over when all is answered; a real worker would sleep on.
        if stands || kernel.ended.len() == REQUESTS.len() {
            return submitted;
        }
        let empty = inbox.arrived.wait(requests).expect("no panic");
        drop(empty);
    }
}

/// Requests come one by one from an application's thread, more of them than there are slots, so that
/// some are completed inside the submission of another's commit. The worker sleeps in between, and
/// never over an answer that it has not submitted.
pub fn never_sleeps_over_an_answer(preemptions: Option<usize>) {
    explore(preemptions, || {
        let mut geometry = small(Engine::Worker);
        geometry.depth = 1;
        let memory = Arc::new(Heap::new(&geometry));
        Session::start(memory.control().expect("there is one"));
        let inbox = Arc::new(Inbox::default());
        let application = {
            let inbox = inbox.clone();
            thread::spawn(move || {
                for request in REQUESTS {
                    inbox.requests.lock().expect("no panic").push_back(request);
                    inbox.arrived.notify_one();
                }
            })
        };
        let mut kernel = Kernel::new(memory.clone(), geometry, &[]);
        let mut daemon = Daemon::new(&memory, geometry);
        let mut submitted = daemon.sq().tail();
        while kernel.ended.len() < REQUESTS.len() {
            daemon.sq().resync();
            let to_submit = daemon.sq().tail().distance_from(submitted) as u32;
            submitted = submitted.plus(enter(&mut kernel, &memory, &inbox, to_submit));
            daemon.sq().resync();
            while daemon.step() {}
        }
        assert!(kernel.ended.iter().all(|(_, end)| *end == End::Replied));
        assert_eq!((kernel.refused, daemon.dropped), (0, 0));
        application.join().expect("the application ends");
    });
}
