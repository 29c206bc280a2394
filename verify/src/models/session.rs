//! Start and teardown (protocol 11).

use super::explore;
use crate::{
    daemon::Daemon,
    kernel::{Ask, End, Kernel, Request},
};
use crate::{
    engine::{Futex, mount},
    rt::pause,
};
use loom::{sync::Arc, thread};
use transport::{
    cq::Engine,
    layout::MAGIC,
    memory::Memory,
    session::Session,
    testing::{Heap, small},
};

/// Who finds the session running finds the control page written.
pub fn starts_with_the_control_page_written(preemptions: Option<usize>) {
    explore(preemptions, || {
        let memory = Arc::new(Heap::new(&small(Engine::Worker)));
        let daemon = {
            let memory = memory.clone();
            thread::spawn(move || {
                let control = memory.control().expect("there is one");
                control.magic.set(MAGIC);
                Session::start(control);
            })
        };
        let control = memory.control().expect("there is one");
        if Session::of(control) == Session::Running {
            assert_eq!(control.magic.get(), MAGIC);
        }
        daemon.join().expect("the daemon ends");
    });
}

/// The daemon closes the session and the connection is aborted while requests are in flight: every
/// request ends once, by its reply or by the abort, and after the close the program answers none.
pub fn ends_every_request_once(preemptions: Option<usize>) {
    explore(preemptions, || {
        let (geometry, memory) = mount(1);
        let futex = Arc::new(Futex::default());
        let requests = [Request::new(2, Ask::Dispatch), Request::new(4, Ask::Answer)];
        let mut kernel = Kernel::new(memory.clone(), geometry, &requests);
        let poll_thread = {
            let (memory, futex) = (memory.clone(), futex.clone());
            thread::spawn(move || {
                kernel.turn();
                kernel.turn();
                while !futex.is_over() {
                    pause();
                }
                let counters = &memory.counters(0).expect("there are").program;
                let answered = counters.answered.read();
                let dispatched = counters.dispatched.read();
                kernel.push(Request::new(6, Ask::Answer));
                kernel.push(Request::new(8, Ask::Dispatch));
                kernel.turn();
                assert_eq!(
                    counters.answered.read(),
                    answered,
                    "answered after the close"
                );
                assert_eq!(
                    counters.dispatched.read(),
                    dispatched,
                    "dispatched after the close"
                );
                kernel.abort();
                kernel.turn();
                assert_eq!(kernel.refused, 0);
                kernel.ended
            })
        };
        let mut daemon = Daemon::new(&memory, geometry);
        daemon.step();
        Session::close(memory.control().expect("there is one"));
        futex.end();
        daemon.step();
        let mut ended = poll_thread.join().expect("the poll thread ends");
        while daemon.step() {}
        ended.sort_unstable_by_key(|(unique, _)| *unique);
        assert_eq!(
            ended.iter().map(|(unique, _)| *unique).collect::<Vec<_>>(),
            [2, 4, 6, 8]
        );
        assert!(
            ended
                .iter()
                .all(|(_, end)| matches!(end, End::Replied | End::Aborted))
        );
        assert!(daemon.failed.iter().all(|res| *res == -107));
    });
}
