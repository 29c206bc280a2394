//! Serving a request on the CPU that made it, and answering without moving its application.
//!
//! When a worker commits, the kernel wakes the application. The worker itself is running on the
//! CPU where the application last ran, so the scheduler sends the application to another CPU if one
//! is idle (`select_idle_sibling`, kernel/sched/fair.c): an interrupt between processors and cold
//! caches with every request, which is more than the rest of the request costs. A CPU that runs
//! nothing but SCHED_IDLE threads counts as idle (`sched_idle_cpu`), and the application stays. So
//! a worker is SCHED_IDLE while there are CPUs to spare.
//!
//! On a busy machine a SCHED_IDLE thread would wait for a tick or more each time, and there is
//! no idle CPU to send the application to: then the worker is an ordinary thread. It looks once a
//! millisecond of its activity, is ordinary at once when it finds the machine crowded, and goes back
//! only after a time without that (docs/decisions/0005-worker-scheduling.md).
#![expect(
    unsafe_code,
    reason = "sched_setscheduler(2), ioprio_set(2) and clocks of threads have no safe wrapper"
)]

use super::probe::online_cpus;
use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

/// Time between two looks at the machine's load.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// So long the machine must have had room before a worker is SCHED_IDLE. A mistake costs some
/// milliseconds, once in this time.
const ROOM_PERIOD: Duration = Duration::from_millis(100);
/// A worker that has waited so long for its CPU since the last look shares it.
const WAIT_MAX: Duration = Duration::from_millis(1);
/// The number of threads that run or could (`loadavg_proc_show`, fs/proc/loadavg.c).
const LOADAVG: &str = "/proc/loadavg";
/// Nanoseconds run, nanoseconds waited for a CPU, times run (`proc_pid_schedstat`, fs/proc/base.c);
/// only with `CONFIG_SCHED_INFO`.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";
/// Best effort, level 4 of 0 ..= 7: what a thread has by default (include/uapi/linux/ioprio.h).
const IOPRIO_BEST_EFFORT: libc::c_int = 2 << 13 | 4;
/// `IOPRIO_WHO_PROCESS`: a thread, in fact.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// How one worker thread is scheduled.
#[derive(Debug)]
pub struct Pace {
    /// `None` if the thread stays an ordinary one.
    looks: Option<Looks>,
}

#[derive(Debug)]
struct Looks {
    load: File,
    waits: Option<File>,
    mood: Mood,
    idle: bool,
}

/// What is seen at one look.
#[derive(Clone, Copy, Debug)]
struct Sight {
    /// Threads that run or could, the worker included.
    running: u32,
    /// How long the worker has waited for its CPU so far.
    waited: Duration,
}

/// Decides from what is seen.
#[derive(Debug)]
struct Mood {
    cpus: u32,
    next_look: Instant,
    waited: Duration,
    /// Since when every look has found room.
    room_since: Option<Instant>,
}

impl Mood {
    fn new(cpus: u32, now: Instant) -> Self {
        Self {
            cpus,
            next_look: now,
            waited: Duration::ZERO,
            room_since: None,
        }
    }

    /// Whether the worker is to be SCHED_IDLE from here on.
    fn judge(&mut self, now: Instant, sight: Sight) -> bool {
        self.next_look = now + LOOK_PERIOD;
        let waited = sight.waited.saturating_sub(self.waited);
        self.waited = sight.waited;
        if sight.running > self.cpus || waited > WAIT_MAX {
            self.room_since = None;
            return false;
        }
        now - *self.room_since.get_or_insert(now) >= ROOM_PERIOD
    }
}

impl Pace {
    /// For the calling thread. Without the right to leave SCHED_IDLE again (CAP_SYS_NICE or
    /// RLIMIT_NICE, sched(7)) or without /proc it stays an ordinary thread.
    pub fn of_this_thread() -> Self {
        let looks = Looks::new()
            .inspect_err(|error| tracing::debug!(%error, "workers stay ordinary threads"))
            .ok();
        Self { looks }
    }

    /// For a thread that is and stays an ordinary one.
    pub fn ordinary() -> Self {
        Self { looks: None }
    }

    /// To be called each time the worker has something to do.
    pub fn adjust(&mut self) {
        self.try_to(|looks| looks.look(Instant::now()));
    }

    /// Makes the thread an ordinary one until the next look: a thread that it starts inherits how
    /// it is scheduled.
    pub fn be_ordinary(&mut self) {
        self.try_to(|looks| looks.set(false));
    }

    fn try_to(&mut self, change: impl FnOnce(&mut Looks) -> io::Result<()>) {
        if let Some(looks) = &mut self.looks
            && let Err(error) = change(looks)
        {
            tracing::warn!(%error, "the scheduling of a worker stays as it is");
            self.looks = None;
        }
    }
}

impl Looks {
    fn new() -> io::Result<Self> {
        if !may_leave_sched_idle()? {
            return Err(Errno::PERM.into());
        }
        // The I/O priority would follow the policy: the lowest there is.
        keep_io_priority()?;
        let cpus = online_cpus().map_err(io::Error::other)?;
        if cpus == 1 {
            return Err(io::Error::other("there is no other CPU to move to"));
        }
        Ok(Self {
            load: File::open(LOADAVG)?,
            waits: File::open(SCHEDSTAT).ok(),
            mood: Mood::new(cpus.into(), Instant::now()),
            idle: false,
        })
    }

    fn look(&mut self, now: Instant) -> io::Result<()> {
        if now < self.mood.next_look {
            return Ok(());
        }
        let sight = self.sight()?;
        let idle = self.mood.judge(now, sight);
        self.set(idle)
    }

    fn sight(&self) -> io::Result<Sight> {
        let unheard_of = || io::Error::from(io::ErrorKind::InvalidData);
        let mut text = [0; 64];
        let len = self.load.read_at(&mut text, 0)?;
        let running = running_threads(&text[..len]).ok_or_else(unheard_of)?;
        let mut waited = Duration::ZERO;
        if let Some(waits) = &self.waits {
            let len = waits.read_at(&mut text, 0)?;
            waited = time_waited(&text[..len]).ok_or_else(unheard_of)?;
        }
        Ok(Sight { running, waited })
    }

    fn set(&mut self, idle: bool) -> io::Result<()> {
        if idle != self.idle {
            set_policy(
                0,
                if idle {
                    libc::SCHED_IDLE
                } else {
                    libc::SCHED_OTHER
                },
            )?;
            self.idle = idle;
        }
        Ok(())
    }
}

/// The fourth field, before the slash: `0.20 0.18 0.12 1/80 11206`.
fn running_threads(loadavg: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(loadavg).ok()?;
    let (running, _) = text.split(' ').nth(3)?.split_once('/')?;
    running.parse().ok()
}

/// The second field.
fn time_waited(schedstat: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(schedstat).ok()?;
    text.split(' ')
        .nth(1)?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// What the kernel asks of a thread that leaves SCHED_IDLE for nice 0
/// (`user_check_sched_setscheduler`, kernel/sched/syscalls.c).
///
/// # Errors
///
/// What capget(2) says.
pub fn may_leave_sched_idle() -> io::Result<bool> {
    let privileged = capabilities(None)?
        .effective
        .contains(CapabilitySet::SYS_NICE);
    let limit = getrlimit(Resource::Nice).current;
    Ok(privileged || limit.is_none_or(|limit| limit >= 20))
}

/// Makes `thread` (0: the calling one) an ordinary or a SCHED_IDLE one.
///
/// # Errors
///
/// What sched_setscheduler(2) says.
pub fn set_policy(thread: libc::pid_t, policy: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are read only during the call.
    match unsafe { libc::sched_setscheduler(thread, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `struct sched_attr` in its first version (include/uapi/linux/sched/types.h).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The shortest turn that can be asked for (`__setparam_fair`, kernel/sched/syscalls.c).
const SLICE_MIN: Duration = Duration::from_micros(100);

/// `SCHED_FLAG_RESET_ON_FORK`: what it starts is ordinary again.
const RESET_ON_FORK: u64 = 1;

/// Makes `thread` (0: the calling one) an ordinary one with short turns, which come the sooner (before
/// Linux 6.12 those of all).
///
/// # Errors
///
/// What sched_setattr(2) says.
pub fn set_prompt(thread: libc::pid_t) -> io::Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: RESET_ON_FORK,
        nice: 0,
        priority: 0,
        runtime: SLICE_MIN.as_nanos() as u64,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the structure says how long it is, and is read only during the call.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attr, 0) };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes `thread` (0: the calling one) one that runs before all ordinary ones, SCHED_FIFO; for one that
/// does next to nothing.
///
/// # Errors
///
/// What sched_setscheduler(2) says: `EPERM` without CAP_SYS_NICE or RLIMIT_RTPRIO.
pub fn set_before_ordinary(thread: libc::pid_t) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters are read only during the call.
    match unsafe { libc::sched_setscheduler(thread, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The time that `thread`, one of this process, has run to this moment. (Its schedstat in /proc is as
/// old as the last tick while it runs.)
///
/// # Errors
///
/// `EINVAL` if there is no such thread.
pub fn runtime(thread: libc::pid_t) -> io::Result<Duration> {
    // CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED (include/linux/posix-timers_types.h)
    let clock = !thread << 3 | 4 | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes `time` and nothing else.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn keep_io_priority() -> io::Result<()> {
    // SAFETY: three integers; no memory is touched.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0,
            IOPRIO_BEST_EFFORT,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_threads_are_before_the_slash() {
        assert_eq!(running_threads(b"0.20 0.18 0.12 1/80 11206\n"), Some(1));
        assert_eq!(
            running_threads(b"12.22 13.47 11.89 13/200 18930\n"),
            Some(13)
        );
        for wrong in [
            &b""[..],
            b"1 2 3",
            b"1 2 3 x/4 5",
            b"1 2 3 4 5",
            b"\xff 2 3 4/5",
        ] {
            assert_eq!(running_threads(wrong), None);
        }
    }

    #[test]
    fn this_machine_tells_its_running_threads() {
        let text = std::fs::read(LOADAVG).unwrap();
        assert!(running_threads(&text).unwrap() >= 1);
    }

    #[test]
    fn the_time_waited_is_the_second_number() {
        let waited = Duration::from_nanos(84_126);
        assert_eq!(time_waited(b"2312 84126 17\n"), Some(waited));
        assert_eq!(time_waited(b"2312"), None);
        assert_eq!(time_waited(b"2312 x 17"), None);
    }

    /// Looks every millisecond; each sees so many running threads and time waited since the last.
    fn moods(sights: impl IntoIterator<Item = (u32, Duration)>) -> Vec<bool> {
        let start = Instant::now();
        let mut mood = Mood::new(2, start);
        let mut waited = Duration::ZERO;
        let look = |(number, (running, wait)): (u32, (u32, Duration))| {
            waited += wait;
            mood.judge(start + LOOK_PERIOD * number, Sight { running, waited })
        };
        (0..).zip(sights).map(look).collect()
    }

    #[test]
    fn a_worker_is_idle_once_there_has_been_room_for_the_period() {
        let moods = moods([(2, Duration::ZERO); 150]);
        assert!(moods[..100].iter().all(|idle| !idle));
        assert!(moods[100..].iter().all(|idle| *idle));
    }

    #[test]
    fn a_crowd_makes_it_ordinary_at_once_and_for_the_period() {
        let mut sights = vec![(1, Duration::ZERO); 300];
        sights[150].0 = 3;
        let moods = moods(sights);
        assert!(moods[149] && !moods[150] && !moods[250] && moods[251]);
    }

    #[test]
    fn a_wait_for_its_cpu_makes_it_ordinary_though_others_have_room() {
        let mut sights = vec![(1, Duration::from_micros(100)); 300];
        sights[150].1 = WAIT_MAX * 2;
        let moods = moods(sights);
        assert!(moods[149] && !moods[150] && !moods[250] && moods[251]);
    }

    #[test]
    fn a_thread_that_becomes_idle_can_be_ordinary_again() {
        let Ok(mut looks) = Looks::new() else {
            eprintln!("skipped: needs CAP_SYS_NICE");
            return;
        };
        looks.sight().unwrap();
        looks.set(true).unwrap();
        looks.set(false).unwrap();
    }
}
