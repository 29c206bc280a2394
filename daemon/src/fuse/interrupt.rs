//! INTERRUPT: an application that waits for a request got a signal.
//!
//! Only a request that waits for another application is worth interrupting; it is served by a
//! thread of the [`BlockingPool`](super::blocking::BlockingPool) and registered here meanwhile.
//! The thread's flag is raised and the thread kicked out of its system call. A kick that comes
//! before the system call is lost, so kicks are repeated until the request has ended.
//!
//! Over io_uring an INTERRUPT may never come: a signal that arrives before the request is copied into its entry is noted,
//! but nobody looks for it when the request is sent (`fuse_uring_prepare_send`, fs/fuse/dev_uring.c, sets `FR_SENT`
//! without a look at `FR_INTERRUPTED`, unlike `fuse_dev_do_read`). The caller then waits in a sleep that only a fatal signal
//! ends (`request_wait_answer`, fs/fuse/dev.c), which shows: it is in state D, and before a signal in state S. So callers
//! of requests that may wait for good are looked at, soon and then once a second.
//!
//! INTERRUPT and request can be read by different threads in either order: one that comes before
//! its request is registered is remembered. INTERRUPT is never answered: an answer `EAGAIN` would
//! make the kernel send it again and again (Documentation/filesystems/fuse/fuse.rst).

use super::kick::KickHandle;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How many INTERRUPTs without a registered request are remembered. Most belong to requests that
/// are never registered, since they do not block; the oldest makes place.
const EARLY_MAX: usize = 1024;
/// Time between the first two kicks; doubled up to [`KICK_PERIOD_MAX`].
const KICK_PERIOD_MIN: Duration = Duration::from_millis(1);
/// The longest time between two kicks.
const KICK_PERIOD_MAX: Duration = Duration::from_millis(100);

/// The longest time between two looks at callers whose INTERRUPT may not come.
const LOOK_PERIOD_MAX: Duration = Duration::from_secs(1);

/// Who can be interrupted.
#[derive(Debug, Default)]
pub struct Interrupts {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is somebody new to kick.
    kick: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Requests being served by blocking threads, by `unique`.
    requests: HashMap<u64, Request>,
    /// INTERRUPTs without a request, oldest first.
    early: VecDeque<u64>,
    /// Threads that serve until the mount ends, by thread.
    servers: HashSet<KickHandle>,
    /// The servers are to end.
    stopping: bool,
    /// Every request is interrupted, also one that is registered from now on.
    ending: bool,
    kicker_runs: bool,
}

#[derive(Debug)]
struct Request {
    thread: KickHandle,
    flag: Arc<AtomicBool>,
    interrupted: bool,
    /// The thread that asks, if its signal may not be told of.
    caller: Option<u32>,
}

/// A request that can be interrupted until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the registration"]
pub struct Registered {
    shared: Arc<Shared>,
    unique: u64,
}

/// A serving thread that can be stopped until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the registration"]
pub struct RegisteredServer {
    shared: Arc<Shared>,
    thread: KickHandle,
}

impl Interrupts {
    /// The calling thread `thread` begins to serve the request `unique`; `flag` is lowered, and
    /// raised when the request is interrupted (at once if it already was). `caller` is the thread that asks, to
    /// be looked at if the request waits for good and came over io_uring.
    pub fn register(
        &self,
        unique: u64,
        thread: KickHandle,
        flag: &Arc<AtomicBool>,
        caller: Option<u32>,
    ) -> Registered {
        let mut state = self.shared.lock();
        let early = state.early.iter().position(|early| *early == unique);
        let interrupted = early.is_some() || state.ending;
        if let Some(at) = early {
            state.early.remove(at);
        }
        flag.store(interrupted, Ordering::Release);
        let flag = Arc::clone(flag);
        let request = Request {
            thread,
            flag,
            interrupted,
            caller,
        };
        state.requests.insert(unique, request);
        if interrupted || caller.is_some() {
            self.start_kicking(&mut state);
        }
        Registered {
            shared: Arc::clone(&self.shared),
            unique,
        }
    }

    /// The application that waits for `unique` got a signal.
    pub fn interrupt(&self, unique: u64) {
        let mut state = self.shared.lock();
        match state.requests.get_mut(&unique) {
            Some(request) => {
                request.interrupt();
                self.start_kicking(&mut state);
            }
            None => {
                if state.early.len() == EARLY_MAX {
                    state.early.pop_front();
                }
                state.early.push_back(unique);
            }
        }
    }

    /// Whether `unique` was interrupted before it was [registered](Self::register); it is forgotten.
    pub fn came_early(&self, unique: u64) -> bool {
        let mut state = self.shared.lock();
        let early = state.early.iter().position(|early| *early == unique);
        early.and_then(|at| state.early.remove(at)).is_some()
    }

    /// Interrupts every request, those that are registered later too: one may be on its way to
    /// its thread.
    pub fn interrupt_all(&self) {
        let mut state = self.shared.lock();
        state.ending = true;
        state.requests.values_mut().for_each(Request::interrupt);
        self.start_kicking(&mut state);
    }

    /// The calling thread `thread` serves until the mount ends: [`stop`](Self::stop) kicks it
    /// until the registration is dropped.
    pub fn register_server(&self, thread: KickHandle) -> RegisteredServer {
        let mut state = self.shared.lock();
        state.servers.insert(thread);
        if state.stopping {
            self.start_kicking(&mut state);
        }
        RegisteredServer {
            shared: Arc::clone(&self.shared),
            thread,
        }
    }

    /// Kicks the serving threads until all have ended. Returns at once.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        self.start_kicking(&mut state);
    }

    /// Sees to it that a kicking thread runs and begins anew.
    fn start_kicking(&self, state: &mut State) {
        if state.kicker_runs {
            self.shared.kick.notify_one();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new()
            .name("shmfuse-kick".into())
            .spawn(move || shared.keep_kicking());
        match spawned {
            Ok(_) => state.kicker_runs = true,
            Err(error) => {
                tracing::warn!(%error, "no thread to repeat an interruption: it is made once");
                state.kick_all();
            }
        }
    }
}

impl Request {
    /// Whether the caller waits as one that got a signal does; that it does not may change until the next look.
    fn has_unheard_signal(&self) -> bool {
        let Some(caller) = self.caller.filter(|_| !self.interrupted) else {
            return false;
        };
        let stat = fs::read_to_string(format!("/proc/{caller}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('D'))
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
        self.flag.store(true, Ordering::Release);
    }
}

impl State {
    /// Interrupts the requests whose caller got a signal that the kernel does not tell of, and returns whether
    /// there is somebody to be looked at again.
    fn look_at_callers(&mut self) -> bool {
        let mut again = false;
        for request in self.requests.values_mut() {
            if request.has_unheard_signal() {
                request.interrupt();
            }
            again |= request.caller.is_some();
        }
        again
    }

    /// Kicks everybody who has not yet ended, and returns whether there was one.
    fn kick_all(&self) -> bool {
        let requests = self.requests.values().filter(|request| request.interrupted);
        let servers = self.servers.iter().filter(|_| self.stopping);
        let mut any = false;
        for thread in requests.map(|request| &request.thread).chain(servers) {
            thread.kick();
            any = true;
        }
        any
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kicking thread: ends when there is nobody left.
    fn keep_kicking(&self) {
        let mut period = KICK_PERIOD_MIN;
        let mut state = self.lock();
        loop {
            let looks = state.look_at_callers();
            let kicks = state.kick_all();
            let longest = match (kicks, looks) {
                (true, _) => KICK_PERIOD_MAX,
                (false, true) => LOOK_PERIOD_MAX,
                (false, false) => break,
            };
            let (next, waited) = self
                .kick
                .wait_timeout(state, period)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            period = if waited.timed_out() {
                longest.min(period * 2)
            } else {
                KICK_PERIOD_MIN
            };
        }
        state.kicker_runs = false;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.lock().requests.remove(&self.unique);
    }
}

impl Drop for RegisteredServer {
    fn drop(&mut self) {
        self.shared.lock().servers.remove(&self.thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_registered_after_the_end_began_is_interrupted() {
        let interrupts = Interrupts::default();
        let thread = KickHandle::of_this_thread().unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        drop(interrupts.register(2, thread, &flag, None));
        assert!(!flag.load(Ordering::Acquire));
        interrupts.interrupt_all();
        let registered = interrupts.register(4, thread, &flag, None);
        assert!(flag.load(Ordering::Acquire));
        drop(registered);
    }
}
