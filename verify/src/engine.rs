//! The kernel engine, whole: the poll thread with the program in it, and a consumer that parks.

use crate::{
    daemon::Daemon,
    kernel::{End, Kernel, Request},
    rt::{Arc, Condvar, Mutex, pause, thread},
};
use transport::{
    cq::Engine,
    layout::Park,
    memory::{Geometry, Memory},
    park::{ASLEEP, Rest, Sleeper},
    session::Session,
    testing::{Heap, small},
};

/// futex(2) on one word, and the end of the model.
#[derive(Default)]
pub struct Futex {
    state: Mutex<FutexState>,
    changed: Condvar,
}

#[derive(Default)]
struct FutexState {
    waits: bool,
    woken: bool,
    over: bool,
}

impl Futex {
    /// `FUTEX_WAIT` for [`ASLEEP`]; whether the model goes on.
    pub fn wait(&self, park: &Park) -> bool {
        let mut state = self.state.lock().expect("no panic");
        if park.0.futex_value() != ASLEEP {
            return !state.over;
        }
        state.waits = true;
        state.woken = false;
        while !state.woken && !state.over {
            state = self.changed.wait(state).expect("no panic");
        }
        state.waits = false;
        !state.over
    }

    /// `FUTEX_WAKE`.
    pub fn wake(&self) {
        let mut state = self.state.lock().expect("no panic");
        if state.waits {
            state.woken = true;
            self.changed.notify_all();
        }
    }

    /// Whether somebody sleeps whom nobody has woken.
    pub fn sleeps(&self) -> bool {
        let state = self.state.lock().expect("no panic");
        state.waits && !state.woken
    }

    /// Ends the model.
    pub fn end(&self) {
        self.state.lock().expect("no panic").over = true;
        self.changed.notify_all();
    }

    /// Whether the model has ended.
    pub fn is_over(&self) -> bool {
        self.state.lock().expect("no panic").over
    }
}

/// A running mount in the kernel engine, with one queue of `depth` slots.
pub fn mount(depth: u32) -> (Geometry, Arc<Heap>) {
    let mut geometry = small(Engine::Kernel);
    geometry.depth = depth;
    let memory = Arc::new(Heap::new(&geometry));
    Session::start(memory.control().expect("there is one"));
    (geometry, memory)
}

/// Serves until the model ends, and parks when there is nothing to do.
pub fn serve(daemon: &mut Daemon<'_>, park: &Park, futex: &Futex) {
    let mut sleeper = Sleeper::new(park);
    loop {
        if daemon.step() {
            continue;
        }
        if futex.is_over() {
            return;
        }
        if sleeper.rest(|| daemon.has_work()) == Rest::Sleep {
            let goes_on = futex.wait(park);
            sleeper.wake_up();
            if !goes_on {
                return;
            }
        }
    }
}

/// Runs the poll thread until all requests have ended.
///
/// # Panics
///
/// If the consumer sleeps while a request waits for it: a lost wake-up.
pub fn poll(kernel: &mut Kernel, requests: usize, futex: &Futex) {
    while kernel.ended.len() < requests {
        if kernel.turn() {
            continue;
        }
        if futex.sleeps() && !kernel.turn() {
            panic!(
                "lost wake-up: {:?} of {requests} requests ended",
                kernel.ended
            );
        }
        pause();
    }
    futex.end();
}

/// Lets all requests be served by `daemon`, while the poll thread runs, and returns how they ended.
pub fn run(
    depth: u32,
    requests: &[Request],
    daemon: impl FnOnce(&Arc<Heap>, Geometry, &Futex),
) -> Vec<(u64, End)> {
    let (geometry, memory) = mount(depth);
    let futex = Arc::new(Futex::default());
    let mut kernel = Kernel::new(memory.clone(), geometry, requests);
    let wakes = futex.clone();
    kernel.futex_wake = Box::new(move || wakes.wake());
    let poll_thread = {
        let (futex, count) = (futex.clone(), requests.len());
        thread::spawn(move || {
            poll(&mut kernel, count, &futex);
            assert_eq!(kernel.refused, 0, "a commit of a request that is not there");
            kernel.ended
        })
    };
    daemon(&memory, geometry, &futex);
    poll_thread.join().expect("the poll thread ends")
}

/// As [`run`], with the usual consumer; every request ends with its own reply.
pub fn all_are_replied(depth: u32, requests: &[Request]) {
    let ended = run(depth, requests, |memory, geometry, futex| {
        let park = memory.park(0).expect("there is one");
        let mut daemon = Daemon::new(memory, geometry);
        serve(&mut daemon, park, futex);
        assert_eq!((daemon.dropped, daemon.failed.len()), (0, 0));
    });
    assert_eq!(ended.len(), requests.len());
    assert!(
        ended.iter().all(|(_, end)| *end == End::Replied),
        "{ended:?}"
    );
}
