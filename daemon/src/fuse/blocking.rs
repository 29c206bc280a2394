//! Threads for requests that wait for another application (locks), or that are known to take long.
//!
//! Nothing waits for these threads. They are made on demand, up to a bound, and end when idle.
//! There is no queue: a request that had to wait for a thread could be the very one that the
//! requests occupying the threads wait for.

use super::ServeThread;
use crate::error::{Error, Result};
use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Threads at most; each holds a stack and one waiting application.
pub const THREADS_MAX: usize = 512;
/// An idle thread ends after this time.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// What a thread of the pool does. Called exactly once: on a thread of the pool, or with an error
/// on the caller's if there is none to be had.
pub type Job = Box<dyn FnOnce(Result<&mut ServeThread>) + Send>;

/// The threads.
pub struct BlockingPool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// A job is there, or the pool is closed.
    work: Condvar,
    /// A thread has ended.
    ended: Condvar,
    threads_max: usize,
    idle_time: Duration,
}

#[derive(Default)]
struct State {
    /// Handed to idle threads: never more than there are.
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    closed: bool,
}

impl Default for BlockingPool {
    fn default() -> Self {
        Self::new(THREADS_MAX, IDLE_TIME)
    }
}

impl BlockingPool {
    /// A pool of at most `threads_max` threads, each ending after `idle_time` without work.
    pub fn new(threads_max: usize, idle_time: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                work: Condvar::new(),
                ended: Condvar::new(),
                threads_max,
                idle_time,
            }),
        }
    }

    /// Runs `job` on a thread of its own.
    pub fn submit(&self, job: Job) {
        let mut state = self.shared.lock();
        if state.closed {
            drop(state);
            return job(Err(unsupported("the mount has ended")));
        }
        if state.jobs.len() < state.idle {
            state.jobs.push_back(job);
            self.shared.work.notify_one();
            return;
        }
        if state.threads == self.shared.threads_max {
            drop(state);
            return job(Err(unsupported("too many requests wait for a lock")));
        }
        state.threads += 1;
        drop(state);
        self.spawn(job);
    }

    fn spawn(&self, job: Job) {
        let place = Arc::new(Mutex::new(Some(job)));
        let (shared, first) = (Arc::clone(&self.shared), Arc::clone(&place));
        let spawned = thread::Builder::new()
            .name("shmfuse-block".into())
            .spawn(move || {
                let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                run(&shared, first);
            });
        if let Err(source) = spawned {
            self.shared.lock().threads -= 1;
            let job = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                job(Err(Error::system("cannot start a thread", source)));
            }
        }
    }

    /// Takes no more jobs and waits until every thread has ended. Whoever calls it has seen to it
    /// that the jobs end ([`Interrupts::interrupt_all`](super::interrupt::Interrupts::interrupt_all)).
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.work.notify_all();
        while state.threads > 0 {
            state = self
                .shared
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.shared.lock().threads
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool")
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job of an idle thread; `None` when it is to end.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        state.idle += 1;
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, self.idle_time, |state| {
                state.jobs.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.jobs.pop_front()
    }
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported {
        what: what.into(),
        remedy: String::new(),
    }
}

/// The life of one thread.
fn run(shared: &Shared, first: Option<Job>) {
    let mut job = first;
    match ServeThread::enter() {
        Ok(mut thread) => {
            while let Some(next) = job.take() {
                if catch_unwind(AssertUnwindSafe(|| next(Ok(&mut thread)))).is_err() {
                    tracing::error!("a blocking request was not answered: its thread panicked");
                }
                job = shared.next();
            }
        }
        Err(error) => {
            if let Some(job) = job {
                job(Err(error));
            }
        }
    }
    shared.lock().threads -= 1;
    shared.ended.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    /// Waits until every thread waits for work.
    fn rest(pool: &BlockingPool) {
        let is_at_rest = |state: &State| state.jobs.is_empty() && state.idle == state.threads;
        while !is_at_rest(&pool.shared.lock()) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_job_too_many_is_called_with_an_error_on_the_callers_thread() {
        let pool = BlockingPool::new(2, LONG);
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for _ in 0..2 {
            let released = Arc::clone(&released);
            pool.submit(Box::new(move |thread| {
                thread.expect("a thread");
                released.lock().unwrap().recv().unwrap_err();
            }));
        }
        let (tell, told) = mpsc::channel();
        pool.submit(Box::new(move |thread| tell.send(thread.is_err()).unwrap()));
        assert_eq!(told.try_recv(), Ok(true));
        drop(release);
        pool.close();
        assert_eq!(pool.threads(), 0);
    }

    #[test]
    fn an_idle_thread_takes_the_next_job() {
        let pool = BlockingPool::new(8, LONG);
        let (tell, told) = mpsc::channel();
        for _ in 0..20 {
            let tell = tell.clone();
            pool.submit(Box::new(move |_| {
                tell.send(thread::current().id()).unwrap()
            }));
            told.recv_timeout(LONG).expect("it runs");
            rest(&pool);
        }
        assert_eq!(pool.threads(), 1);
        pool.close();
    }

    #[test]
    fn idle_threads_end_by_themselves() {
        let pool = BlockingPool::new(8, Duration::from_millis(1));
        for _ in 0..8 {
            pool.submit(Box::new(|_| ()));
        }
        while pool.threads() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_of_a_job_costs_no_thread() {
        let pool = BlockingPool::new(1, LONG);
        for _ in 0..3 {
            pool.submit(Box::new(|thread| {
                thread.expect("a thread");
                panic!("of a job");
            }));
            rest(&pool);
        }
        pool.close();
    }

    #[test]
    fn a_closed_pool_refuses() {
        let pool = BlockingPool::default();
        pool.close();
        let (tell, told) = mpsc::channel();
        pool.submit(Box::new(move |thread| tell.send(thread.is_err()).unwrap()));
        assert_eq!(told.try_recv(), Ok(true));
    }
}
