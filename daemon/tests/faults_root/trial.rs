//! A mount in use, a fault, and what is to come of it.

use crate::{
    common::{TestMount, Variant, scale, wait_until},
    maps::{Holdings, Maps},
    victims::{self, Victims},
};
use std::{
    thread,
    time::{Duration, Instant},
};

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

/// What came of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The mount still answers.
    GoesOn,
    /// The mount has ended, with an error in its log.
    Ended,
}

/// Makes `fault` again and again under load. Whatever comes of it, nobody hangs, nothing is wrong,
/// and nothing is left.
pub fn scribble(variant: Variant, name: &str, fault: fn(&Maps, &mut Chance)) -> End {
    let mut mount = TestMount::builder(variant)
        .args(&["--queue-depth", "4"])
        .mount();
    victims::prepare(mount.lower());
    let pid = mount.the_daemon().pid();
    wait_until("the programs are loaded", || {
        Holdings::of(pid).programs.len() >= 3
    });
    let holdings = Holdings::of(pid);
    let maps = Maps::open(&holdings);
    wait_until("the session runs", || maps.control.get(0).magic.get() != 0);
    let victims = Victims::start(mount.path(), mount.scratch(), VICTIMS);
    victims.wait_for_progress(2);

    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    let mut faults = 0;
    while start.elapsed() < TIME * scale::factor() as u32 && mount.the_daemon().poll().is_none() {
        // Some while nothing else happens, some in quick succession.
        for _ in 0..=chance.next() % 8 {
            fault(&maps, &mut chance);
            faults += 1;
        }
        thread::sleep(Duration::from_micros(chance.next() % 500));
    }
    drop(maps);
    let end = aftermath(mount, victims, &holdings);
    println!("{name}: {faults} faults, {end:?}");
    end.0
}

/// Waits until it is clear what came of a fault, and checks it.
pub fn aftermath(
    mut mount: TestMount,
    victims: Victims,
    holdings: &Holdings,
) -> (End, (u64, u64, usize), String) {
    victims.wait_for_progress(3);
    let fates = victims.stop();
    victims::check_written(mount.lower(), VICTIMS);
    let end = if fates.2 == 0 {
        End::GoesOn
    } else {
        End::Ended
    };
    if end == End::GoesOn {
        mount.unmount();
    }
    let status = mount.the_daemon().wait();
    let log = mount.the_daemon().log();
    assert!(
        status.code().is_some(),
        "the daemon crashed, {status}:\n{log}"
    );
    assert!(!log.contains("panicked at"), "{log}");
    wait_until("the kernel has let go of programs and maps", || {
        holdings.left().is_empty()
    });
    let last = log.lines().rfind(|line| line.contains("ERROR"));
    let last = last.unwrap_or_default().to_owned();
    mount.abandon();
    (end, fates, last)
}
