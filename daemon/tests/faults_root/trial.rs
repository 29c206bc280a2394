//! A mount in use, a fault, and what is to come of it.

use crate::{
    common::{Holdings, MountBuilder, TestMount, Variant, scale, wait_until},
    maps::Maps,
    victims::{self, Fates, Victims},
};
use std::{
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};
use transport::layout::MAGIC;

/// Processes that use the mount meanwhile.
const VICTIMS: usize = 4;
/// How long faults are made, at scale 1.
const TIME: Duration = Duration::from_millis(600);

/// Numbers that are the same in each run: which slot, which value.
pub struct Chance(u64);

impl Chance {
    /// The next one (xorshift, Marsaglia 2003).
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[(self.next() % values.len() as u64) as usize]
    }
}

/// A mount in use.
pub struct Trial {
    /// The mount, of 4 slots a queue.
    pub mount: TestMount,
    /// Those who use it.
    pub victims: Victims,
    /// What its daemon has of the kernel.
    pub holdings: Holdings,
}

impl Trial {
    /// Mounts as `builder` says, and waits until every victim is at work.
    pub fn start(builder: MountBuilder) -> Self {
        let mut mount = builder.mount();
        victims::prepare(mount.lower());
        let pid = mount.the_daemon().pid();
        wait_until("the session runs", || {
            let holdings = Holdings::of(pid);
            holdings.programs.len() >= 3
                && Maps::open(&holdings).control.get(0).magic.get() == MAGIC
        });
        let victims = Victims::start(mount.path(), mount.scratch(), VICTIMS);
        victims.wait_for_progress(2);
        Self {
            mount,
            victims,
            holdings: Holdings::of(pid),
        }
    }

    /// Waits until it is clear what came of a fault, and checks that nobody hangs, nobody was given
    /// anything wrong, and nothing is left.
    pub fn aftermath(mut self) -> Outcome {
        self.victims.wait_for_progress(3);
        let fates = self.victims.stop();
        victims::check_written(self.mount.lower(), VICTIMS);
        if fates.ended == 0 {
            self.mount.unmount();
        }
        let status = self.mount.the_daemon().wait();
        wait_until("the kernel has let go of programs and maps", || {
            self.holdings.left().is_empty()
        });
        let log = self.mount.the_daemon().log();
        self.mount.abandon();
        Outcome { fates, status, log }
    }
}

/// What came of a trial.
#[derive(Debug)]
pub struct Outcome {
    /// How the victims fared.
    pub fates: Fates,
    /// How the daemon ended.
    pub status: ExitStatus,
    /// What it logged.
    pub log: String,
}

impl Outcome {
    /// Fails the test if the daemon was ended by a signal or a panic of its own.
    pub fn assert_no_crash(&self) {
        let Self { status, log, .. } = self;
        assert!(status.code().is_some(), "{status}:\n{log}");
        assert!(!log.contains("panicked at"), "{log}");
    }

    /// Whether the mount went on to the end of the trial.
    pub fn goes_on(&self) -> bool {
        self.fates.ended == 0 && self.status.success()
    }

    /// In one line, for who reads the output of the tests.
    pub fn print(&self, fault: &str) {
        let error = self.log.lines().rfind(|line| line.contains("ERROR"));
        let end = if self.goes_on() { "goes on" } else { "ends" };
        let Fates {
            rounds,
            lost,
            ended,
        } = self.fates;
        let error = error.unwrap_or_default();
        println!("{fault}: {end}; {rounds} rounds, {lost} lost, {ended} told of the end; {error}");
    }
}

/// Makes `fault` again and again under load. Whatever comes of it, nobody hangs, nothing is wrong,
/// and nothing is left.
pub fn scribble(variant: Variant, name: &str, fault: fn(&Maps, &mut Chance)) {
    let builder = TestMount::builder(variant).args(&["--queue-depth", "4"]);
    let mut trial = Trial::start(builder);
    let maps = Maps::open(&trial.holdings);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    let mut faults = 0;
    while start.elapsed() < TIME * scale::factor() as u32
        && trial.mount.the_daemon().poll().is_none()
    {
        // Some while nothing else happens, some in quick succession.
        for _ in 0..=chance.next() % 8 {
            fault(&maps, &mut chance);
            faults += 1;
        }
        thread::sleep(Duration::from_micros(chance.next() % 500));
    }
    drop(maps);
    let outcome = trial.aftermath();
    outcome.print(&format!("{name}, {faults} faults"));
    outcome.assert_no_crash();
}
