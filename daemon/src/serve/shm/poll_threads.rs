//! How the poll threads of the kernel engine are scheduled.
//!
//! A SCHED_IDLE poll thread runs when its CPU has nothing else to do: on the CPU that made the
//! request, as soon as the application waits, and the application stays there (docs/decisions/
//! 0005-worker-scheduling.md). On a busy CPU it would hardly run at all, so one thread per mount looks
//! after the poll threads (docs/decisions/0024-poll-thread-scheduling.md):
//!
//! - One that could run and did not from one look to the next, while a request may be waiting for it
//!   ([`Backlog`]), is an ordinary thread for [`CROWD`], with short turns. Then it is tried again. One that
//!   nobody needs is left as it is: it polls in vain, and as an ordinary thread it would keep the
//!   CPU from those that it has just woken, for up to a tick.
//! - One that has had nothing to do for [`QUIET`] is an ordinary thread, and is looked at rarely: the
//!   first request after a pause waits for nobody's look.
//!
//! **Bound.** The looks are a [`LOOK_PERIOD`] apart, by a thread that goes before all ordinary ones: a poll
//! thread waits for two looks at most, 2 ms, before it has its turns as every thread has, and that once
//! in [`CROWD`]. There is no realtime policy for poll threads: they poll on for up to two ticks of the
//! kernel's clock, 8 ms at 250 Hz, after each request, and would keep the CPU from the very threads that
//! they have woken.

use super::backlog::Backlog;
use crate::serve::uring::pace::{
    self, may_leave_sched_idle, set_before_ordinary, set_policy, set_prompt,
};
use nix::unistd::gettid;
use std::{
    fs, io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// Time between two looks at a poll thread that is in use.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// How long a CPU is taken to be crowded after a poll thread had to wait there.
const CROWD: Duration = Duration::from_secs(1);
/// A poll thread without work for this long is not in use.
const QUIET: Duration = Duration::from_millis(100);
/// Time between two looks at one that is not in use: so long a thread that is used again remains an
/// ordinary one.
const QUIET_PERIOD: Duration = Duration::from_millis(10);
/// Time between two looks for a poll thread that has not run yet.
const SEEK_PERIOD: Duration = Duration::from_millis(10);

/// A kernel thread that polls for rings of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PollThread(libc::pid_t);

impl PollThread {
    /// That of the ring that the thread `maker` of this process has made, by its name, which it gives
    /// itself when it first runs.
    fn find(maker: libc::pid_t) -> io::Result<Option<Self>> {
        let name = format!("iou-sqp-{maker}\n");
        for task in fs::read_dir(TASKS)? {
            let task = task?;
            // A thread may end meanwhile.
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let id = task.file_name().to_str().and_then(|id| id.parse().ok());
            if let (true, Some(id)) = (comm == name, id) {
                return Ok(Some(Self(id)));
            }
        }
        Ok(None)
    }

    /// Whether it runs or would if it had a CPU.
    fn is_runnable(self) -> io::Result<bool> {
        let stat = fs::read_to_string(format!("{TASKS}/{}/stat", self.0))?;
        Ok(state(&stat) == Some('R'))
    }
}

const TASKS: &str = "/proc/self/task";

/// The third field, behind the name, which may hold anything (proc_pid_stat(5)).
fn state(stat: &str) -> Option<char> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.trim_start().chars().next()
}

/// Names poll threads to who looks after them, until it and all its copies are dropped.
#[derive(Clone, Debug)]
pub struct Registrar(Sender<libc::pid_t>);

impl Registrar {
    /// Names the poll thread of the ring that the calling thread has made. It lives as long as the
    /// caller keeps this value.
    pub fn add_of_this_thread(&self) {
        // Nobody listens if this user may not change the scheduling back.
        let _ = self.0.send(gettid().as_raw());
    }
}

/// Looks after poll threads.
pub struct Keeper {
    backlog: Backlog,
    fresh: Receiver<libc::pid_t>,
    /// Makers of rings whose poll threads have not shown yet.
    sought: Vec<libc::pid_t>,
    threads: Vec<(PollThread, Care)>,
}

impl Keeper {
    /// One without threads, and the way to name them.
    pub fn new(backlog: Backlog) -> (Registrar, Self) {
        let (sender, fresh) = channel();
        let keeper = Self {
            backlog,
            fresh,
            sought: Vec::new(),
            threads: Vec::new(),
        };
        (Registrar(sender), keeper)
    }

    /// Looks after the threads until every [`Registrar`] is dropped. Without the right to make a thread
    /// an ordinary one again (CAP_SYS_NICE or RLIMIT_NICE, sched(7)) they are left as they are.
    pub fn run(mut self) {
        match may_leave_sched_idle() {
            Ok(true) => {}
            Ok(false) => return tracing::debug!("poll threads stay ordinary threads"),
            Err(error) => return tracing::debug!(%error, "poll threads stay ordinary threads"),
        }
        // On a busy machine its own looks would come too late.
        if let Err(error) = set_before_ordinary(0) {
            tracing::debug!(%error, "who looks after poll threads is an ordinary thread");
        }
        let mut pause = QUIET_PERIOD;
        loop {
            match self.fresh.recv_timeout(pause) {
                Ok(maker) => self.sought.push(maker),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.seek();
            let now = Instant::now();
            for (thread, care) in &mut self.threads {
                if let Err(error) = look(*thread, care, now, &self.backlog) {
                    // It has ended; its ring is about to be closed.
                    tracing::debug!(?thread, %error, "a poll thread is not looked after");
                    care.next = now + QUIET_PERIOD;
                }
            }
            let next = self.threads.iter().map(|(_, care)| care.next).min();
            let seek = (!self.sought.is_empty()).then(|| now + SEEK_PERIOD);
            pause = next
                .into_iter()
                .chain(seek)
                .min()
                .map_or(QUIET_PERIOD, |next| {
                    next.saturating_duration_since(Instant::now())
                });
        }
    }

    fn seek(&mut self) {
        let threads = &mut self.threads;
        self.sought.retain(|&maker| match PollThread::find(maker) {
            Ok(Some(thread)) => {
                threads.push((thread, Care::new(Instant::now())));
                false
            }
            Ok(None) => true,
            Err(error) => {
                tracing::debug!(%error, "a poll thread stays an ordinary thread");
                false
            }
        });
    }
}

fn look(thread: PollThread, care: &mut Care, now: Instant, backlog: &Backlog) -> io::Result<()> {
    if now < care.next {
        return Ok(());
    }
    let runtime = pace::runtime(thread.0)?;
    let starves = care.policy == Policy::Idle
        && runtime == care.runtime
        && thread.is_runnable()?
        && backlog.may_wait();
    match care.look(now, runtime, starves) {
        Some(Policy::Ordinary) => set_prompt(thread.0),
        Some(Policy::Idle) => set_policy(thread.0, libc::SCHED_IDLE),
        None => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Ordinary,
    Idle,
}

/// What is known of one thread.
#[derive(Debug)]
struct Care {
    policy: Policy,
    runtime: Duration,
    /// When it was last seen to run, or to starve.
    active: Instant,
    /// When it was last found waiting for its CPU, as a SCHED_IDLE thread.
    starved: Option<Instant>,
    /// When the next look is due.
    next: Instant,
}

impl Care {
    /// Of a thread that was just made, an ordinary one.
    fn new(now: Instant) -> Self {
        Self {
            policy: Policy::Ordinary,
            runtime: Duration::ZERO,
            active: now,
            starved: None,
            next: now,
        }
    }

    /// The policy, if it is to change. `starves`: it could run, was needed and has not run since the last
    /// look.
    fn look(&mut self, now: Instant, runtime: Duration, starves: bool) -> Option<Policy> {
        let ran = runtime != self.runtime;
        self.runtime = runtime;
        if ran || starves {
            self.active = now;
        }
        if self.policy == Policy::Idle && !ran && starves {
            self.starved = Some(now);
        }
        let quiet = now.duration_since(self.active) >= QUIET;
        let crowded = self
            .starved
            .is_some_and(|starved| now.duration_since(starved) < CROWD);
        let (wanted, period) = match quiet || crowded {
            true => (Policy::Ordinary, QUIET_PERIOD),
            false => (Policy::Idle, LOOK_PERIOD),
        };
        self.next = now + period;
        (wanted != self.policy).then(|| {
            self.policy = wanted;
            wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A thread that is in use since `start`.
    fn in_use(start: Instant) -> Care {
        let mut care = Care::new(start);
        assert_eq!(care.look(start, MS, false), Some(Policy::Idle));
        care
    }

    #[test]
    fn a_thread_that_could_run_and_did_not_is_an_ordinary_one_for_a_while() {
        let start = Instant::now();
        let mut care = in_use(start);
        let crowded = start + MS;
        assert_eq!(care.look(crowded, MS, true), Some(Policy::Ordinary));
        assert_eq!(care.look(crowded + CROWD - MS, 2 * MS, true), None);
        assert_eq!(care.look(crowded + CROWD, 3 * MS, true), Some(Policy::Idle));
        assert_eq!(care.next, crowded + CROWD + LOOK_PERIOD);
    }

    #[test]
    fn a_thread_without_work_becomes_ordinary_and_is_rarely_looked_at() {
        let start = Instant::now();
        let mut care = in_use(start);
        assert_eq!(care.look(start + QUIET / 2, MS, false), None);
        assert_eq!(care.next, start + QUIET / 2 + LOOK_PERIOD);
        let quiet = start + QUIET;
        assert_eq!(care.look(quiet, MS, false), Some(Policy::Ordinary));
        assert_eq!(care.next, quiet + QUIET_PERIOD);
        assert_eq!(
            care.look(quiet + QUIET_PERIOD, 2 * MS, false),
            Some(Policy::Idle)
        );
    }

    #[test]
    fn an_ordinary_thread_that_waits_for_its_turn_does_not_make_the_crowd_last() {
        let start = Instant::now();
        let mut care = in_use(start);
        care.look(start + MS, MS, true);
        care.look(start + CROWD, MS, true);
        assert_eq!(care.look(start + MS + CROWD, MS, true), Some(Policy::Idle));
    }

    #[test]
    fn the_state_stands_behind_a_name_that_may_hold_anything() {
        assert_eq!(state("12 (iou-sqp-11) R 1 12"), Some('R'));
        assert_eq!(state("12 (a) S (b) S 1 12"), Some('S'));
        assert_eq!(state(""), None);
        assert_eq!(state("12 (a)"), None);
    }

    #[test]
    fn this_thread_tells_how_long_it_has_run_and_that_it_does() {
        let this = PollThread(gettid().as_raw());
        let before = pace::runtime(this.0).unwrap();
        while pace::runtime(this.0).unwrap() == before {}
        assert!(this.is_runnable().unwrap());
    }
}
