//! How the poll threads of the kernel engine are scheduled.
//!
//! A SCHED_IDLE poll thread runs when its CPU has nothing else to do: on the CPU that made the
//! request, as soon as the application waits, and the application stays there (docs/decisions/
//! 0005-worker-scheduling.md). On a busy CPU it would hardly run at all. As an ordinary thread it would
//! not do much better: after its work it goes on polling for up to two ticks of the kernel's clock, 8 ms
//! at 250 Hz, and with that uses up its share, so that the next request waits until all others on the
//! CPU have had theirs. So one thread per mount looks after them:
//!
//! - A poll thread that could run and did not from one look to the next goes before all ordinary
//!   threads (SCHED_FIFO) until the next look, a millisecond.
//! - One that has had nothing to do for [`QUIET`] is an ordinary thread, and is looked at rarely: the
//!   first request after a pause waits for nobody's look.
//!
//! **Bound.** The looks are a [`LOOK_PERIOD`] apart, by a thread that goes before the poll threads: one of
//! these waits for two looks at most, 2 ms, and every request needs it twice. Ordinary threads lose at
//! most every second millisecond of a CPU, while requests are made there. Who may not have SCHED_FIFO
//! has ordinary threads with more weight in its place, and no bound.

use crate::serve::uring::pace::{self, may_leave_sched_idle, set_first, set_policy, set_prompt};
use nix::unistd::gettid;
use std::{
    fs, io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// Time between two looks at a poll thread that is in use.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// A poll thread without work for this long is not in use.
const QUIET: Duration = Duration::from_millis(100);
/// Time between two looks at one that is not in use.
const QUIET_PERIOD: Duration = Duration::from_millis(100);
/// Time between two looks for a poll thread that has not run yet.
const SEEK_PERIOD: Duration = Duration::from_millis(10);
/// Of a poll thread that goes before the others.
const PRIORITY: i32 = 1;

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
#[derive(Debug)]
pub struct Keeper {
    fresh: Receiver<libc::pid_t>,
    /// Makers of rings whose poll threads have not shown yet.
    sought: Vec<libc::pid_t>,
    threads: Vec<(PollThread, Care)>,
}

impl Keeper {
    /// One without threads, and the way to name them.
    pub fn new() -> (Registrar, Self) {
        let (sender, fresh) = channel();
        let keeper = Self {
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
        if let Err(error) = set_first(0, PRIORITY + 1) {
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
                if let Err(error) = look(*thread, care, now) {
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

fn look(thread: PollThread, care: &mut Care, now: Instant) -> io::Result<()> {
    if now < care.next {
        return Ok(());
    }
    let runtime = pace::runtime(thread.0)?;
    let runnable = runtime == care.runtime && thread.is_runnable()?;
    if let Some(policy) = care.look(now, runtime, runnable) {
        match policy {
            Policy::First => set_first(thread.0, PRIORITY).or_else(|_| set_prompt(thread.0))?,
            Policy::Ordinary => set_prompt(thread.0)?,
            Policy::Idle => set_policy(thread.0, libc::SCHED_IDLE)?,
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    First,
    Ordinary,
    Idle,
}

/// What is known of one thread.
#[derive(Debug)]
struct Care {
    policy: Policy,
    runtime: Duration,
    /// When it was last seen to run, or to want to.
    active: Instant,
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
            next: now,
        }
    }

    /// The policy, if it is to change. `runnable` says something only of a thread that has not run
    /// since the last look.
    fn look(&mut self, now: Instant, runtime: Duration, runnable: bool) -> Option<Policy> {
        let ran = runtime != self.runtime;
        self.runtime = runtime;
        if ran || runnable {
            self.active = now;
        }
        let quiet = now.duration_since(self.active) >= QUIET;
        self.next = now + if quiet { QUIET_PERIOD } else { LOOK_PERIOD };
        let starves = !ran && runnable;
        let wanted = match self.policy {
            Policy::Idle if starves => Policy::First,
            _ if quiet => Policy::Ordinary,
            _ => Policy::Idle,
        };
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
    fn a_thread_that_could_run_and_did_not_goes_first_until_the_next_look() {
        let start = Instant::now();
        let mut care = in_use(start);
        assert_eq!(care.look(start + MS, MS, true), Some(Policy::First));
        assert_eq!(care.next, start + MS + LOOK_PERIOD);
        assert_eq!(care.look(start + 2 * MS, 2 * MS, false), Some(Policy::Idle));
        assert_eq!(care.look(start + 3 * MS, 2 * MS, true), Some(Policy::First));
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
    fn a_thread_that_starves_without_work_for_the_daemon_is_not_quiet() {
        let start = Instant::now();
        let mut care = in_use(start);
        assert_eq!(care.look(start + QUIET, MS, true), Some(Policy::First));
        assert_eq!(care.next, start + QUIET + LOOK_PERIOD);
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
