//! The lane for bulk: requests that a rule sends there wait for threads of the lane, in the order of
//! their priority, and nobody else waits for them.
//!
//! *Work conserving*: no thread of the lane rests while a request waits in it. *No starvation*: while a
//! request of low priority waits, at most [`TURNS`] of normal priority are begun before one of low
//! priority is. So the n-th that waits at low priority begins after n * (`TURNS` + 1) others at most. The
//! threads are nice: what else is served goes before them, but the scheduler gives each its share.
//!
//! A request that waits can be taken out of the lane: by an interrupt, or by the end of the mount.

use super::ServeThread;
use crate::error::Error;
use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use transport::rules::Priority;

/// Requests of normal priority that are begun at most while one of low priority waits.
pub const TURNS: u32 = 8;
/// Requests that wait at most. What comes then is served by the thread of its queue: it cannot be
/// refused, and its ring entry is taken for as long as it waits.
pub const WAITING_MAX: usize = 256;
/// What the scheduler thinks of the lane's threads (nice(2)): a tenth of the weight of others.
const NICE: i32 = 10;
/// An idle thread ends after this time.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Why a request leaves the lane.
#[derive(Debug)]
pub enum Turn<'t> {
    /// It is its turn, on this thread.
    Serve(&'t mut ServeThread),
    /// Its application got a signal, or the mount has ended.
    Withdrawn,
    /// There is no thread for it.
    Failed(Error),
}

/// What becomes of a request. Called exactly once.
pub type Job = Box<dyn FnOnce(Turn<'_>) + Send>;

/// The lane.
pub struct Lanes {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// A request waits, or the lane is closed.
    work: Condvar,
    /// A thread has ended.
    ended: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    idle: usize,
    threads: usize,
    closed: bool,
}

/// The requests that wait, each with its number.
#[derive(Default)]
struct Waiting {
    normal: VecDeque<(u64, Job)>,
    low: VecDeque<(u64, Job)>,
    /// Of normal priority, begun since one of low priority was or began to wait.
    passed: u32,
}

impl Waiting {
    fn len(&self) -> usize {
        self.normal.len() + self.low.len()
    }

    fn of(&mut self, priority: Priority) -> &mut VecDeque<(u64, Job)> {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }

    fn next(&mut self) -> Option<Job> {
        let low_is_due = self.normal.is_empty() || self.passed >= TURNS;
        let next = if low_is_due && !self.low.is_empty() {
            self.passed = 0;
            self.low.pop_front()
        } else {
            self.passed = match self.low.is_empty() {
                true => 0,
                false => self.passed + 1,
            };
            self.normal.pop_front()
        };
        next.map(|(_, job)| job)
    }

    fn withdraw(&mut self, unique: u64) -> Option<Job> {
        [Priority::Normal, Priority::Low]
            .into_iter()
            .find_map(|priority| {
                let queue = self.of(priority);
                let at = queue.iter().position(|(waiting, _)| *waiting == unique)?;
                queue.remove(at).map(|(_, job)| job)
            })
    }
}

impl Default for Lanes {
    fn default() -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Self::new(cpus.clamp(2, 8))
    }
}

impl Lanes {
    /// A lane of at most `threads_max` threads, which are started when they are needed.
    pub fn new(threads_max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                work: Condvar::new(),
                ended: Condvar::new(),
                threads_max,
            }),
        }
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.shared.lock().waiting.len() < WAITING_MAX
    }

    /// Puts the request `unique` into the lane.
    pub fn submit(&self, unique: u64, priority: Priority, job: Job) {
        let mut state = self.shared.lock();
        if state.closed {
            drop(state);
            return job(Turn::Withdrawn);
        }
        state.waiting.of(priority).push_back((unique, job));
        let needs_thread = state.waiting.len() > state.idle;
        if !needs_thread || state.threads == self.shared.threads_max {
            self.shared.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new()
            .name("shmfuse-bulk".into())
            .spawn(move || run(&shared));
        if let Err(source) = spawned {
            let mut state = self.shared.lock();
            state.threads -= 1;
            // Another thread of the lane will come to it.
            let left = match state.threads {
                0 => state.waiting.withdraw(unique),
                _ => None,
            };
            drop(state);
            if let Some(job) = left {
                job(Turn::Failed(Error::system("cannot start a thread", source)));
            }
        }
    }

    /// Takes the request `unique` out of the lane, if it waits there.
    pub fn withdraw(&self, unique: u64) -> bool {
        let job = self.shared.lock().waiting.withdraw(unique);
        match job {
            Some(job) => {
                job(Turn::Withdrawn);
                true
            }
            None => false,
        }
    }

    /// Withdraws whatever waits, and waits until every thread has ended. Whoever calls it has seen to
    /// it that what they serve ends.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        self.shared.work.notify_all();
        drop(state);
        for (_, job) in waiting.normal.into_iter().chain(waiting.low) {
            job(Turn::Withdrawn);
        }
        let mut state = self.shared.lock();
        while state.threads > 0 {
            let ended = self.shared.ended.wait(state);
            state = ended.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Lanes")
            .field("threads", &state.threads)
            .field("waiting", &state.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request of an idle thread; `None` when the thread is to end, and counts no more.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        if let Some(job) = state.waiting.next() {
            return Some(job);
        }
        state.idle += 1;
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, IDLE_TIME, |state| {
                state.waiting.len() == 0 && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let next = state.waiting.next();
        if next.is_none() {
            // Under the same lock: who submits next sees that this thread has gone.
            state.threads -= 1;
            self.ended.notify_all();
        }
        next
    }
}

/// The life of one thread.
fn run(shared: &Shared) {
    if let Err(errno) = rustix::process::nice(NICE) {
        tracing::debug!(%errno, "a thread of the lane for bulk is not nice");
    }
    let mut thread = ServeThread::enter();
    while let Some(job) = shared.next() {
        let turn = match &mut thread {
            Ok(thread) => Turn::Serve(thread),
            Err(error) => Turn::Failed(Error::refused(
                "a thread of the lane for bulk",
                error.to_string(),
                "the log says more",
            )),
        };
        if catch_unwind(AssertUnwindSafe(|| job(turn))).is_err() {
            tracing::error!("a request on the lane for bulk was not answered: its thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    /// A lane of one thread, which is busy until the sender is dropped.
    fn busy() -> (Lanes, mpsc::Sender<()>) {
        let lanes = Lanes::new(1);
        let (hold, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        lanes.submit(
            0,
            Priority::Normal,
            Box::new(move |_| {
                tell.send(()).unwrap();
                let _ = held.recv();
            }),
        );
        told.recv_timeout(LONG).expect("it begins");
        (lanes, hold)
    }

    #[test]
    fn one_of_low_priority_waits_for_so_many_of_normal_priority_and_no_more() {
        let (lanes, hold) = busy();
        let (tell, told) = mpsc::channel();
        let submit = |unique, priority| {
            let tell = tell.clone();
            let job = Box::new(move |_: Turn<'_>| tell.send((priority, unique)).unwrap());
            lanes.submit(unique, priority, job);
        };
        for unique in 1..=3 {
            submit(unique, Priority::Low);
        }
        for unique in 10..50 {
            submit(unique, Priority::Normal);
        }
        drop(hold);
        let order: Vec<_> = (0..43).map(|_| told.recv_timeout(LONG).unwrap()).collect();
        let low = |(_, (priority, _)): &(usize, &(Priority, u64))| *priority == Priority::Low;
        let places: Vec<_> = order
            .iter()
            .enumerate()
            .filter(low)
            .map(|(at, _)| at)
            .collect();
        let turns = TURNS as usize;
        assert_eq!(places, [turns, 2 * turns + 1, 3 * turns + 2]);
        let of = |priority| order.iter().filter(move |(other, _)| *other == priority);
        assert!(of(Priority::Normal).is_sorted() && of(Priority::Low).is_sorted());
        lanes.close();
    }

    #[test]
    fn no_thread_rests_while_a_request_waits() {
        let lanes = Lanes::new(3);
        let (tell, told) = mpsc::channel();
        let (meet, met) = mpsc::channel::<mpsc::Sender<()>>();
        for unique in 0..3 {
            let (tell, meet) = (tell.clone(), meet.clone());
            let job = move |_: Turn<'_>| {
                let (go, gone) = mpsc::channel();
                meet.send(go).unwrap();
                let _ = gone.recv_timeout(LONG);
                tell.send(()).unwrap();
            };
            lanes.submit(unique, Priority::Low, Box::new(job));
        }
        // All three are being served at one time.
        let all: Vec<_> = (0..3).map(|_| met.recv_timeout(LONG).unwrap()).collect();
        drop(all);
        for _ in 0..3 {
            told.recv_timeout(LONG).unwrap();
        }
        lanes.close();
    }

    #[test]
    fn what_waits_can_be_withdrawn_and_the_end_withdraws_all() {
        let (lanes, hold) = busy();
        let (tell, told) = mpsc::channel();
        for unique in 1..=3 {
            let tell = tell.clone();
            let job = move |turn: Turn<'_>| {
                tell.send((unique, matches!(turn, Turn::Withdrawn)))
                    .unwrap();
            };
            lanes.submit(unique, Priority::Normal, Box::new(job));
        }
        assert!(lanes.withdraw(2) && !lanes.withdraw(2) && !lanes.withdraw(0));
        assert_eq!(told.try_recv(), Ok((2, true)));
        thread::scope(|scope| {
            scope.spawn(|| lanes.close());
            assert_eq!(told.recv_timeout(LONG), Ok((1, true)));
            assert_eq!(told.recv_timeout(LONG), Ok((3, true)));
            drop(hold);
        });
        lanes.submit(
            4,
            Priority::Low,
            Box::new(move |turn| {
                tell.send((4, matches!(turn, Turn::Withdrawn))).unwrap();
            }),
        );
        assert_eq!(told.try_recv(), Ok((4, true)));
    }
}
