//! Writers that work through the mounts and below in turns, readers that look through the mounts: what
//! they see is what the lower directory could have said since the look began (strict), or since a
//! [`BOUND`] before (coherent).
//!
//! `SHMFUSE_SOAK_SECONDS` says how long on each variant, 2 by default; `SHMFUSE_SEED` with which seed.
//! Seeds of failures are kept in [`KEPT`], and run first.

use super::slots::{Kind, Sight};
use crate::common::{
    TestMount, Variant, Watchdog, child::Forked, mount::temp_dir, try_stat, wait_until,
};
use std::{
    collections::VecDeque,
    env, fs,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long what is seen may be behind with `--cache coherent`. The revoker takes milliseconds; the
/// machine may be busy.
const BOUND: Duration = Duration::from_secs(5);
/// Seeds that once failed.
const KEPT: &[u64] = &[
    99_763_500_351_548,
    78_374_563_217_468,
    62_693_637_619_772,
    65_970_697_666_620,
];
const READERS: usize = 2;

fn seconds() -> Duration {
    let text = env::var("SHMFUSE_SOAK_SECONDS");
    let seconds = text.map_or(2, |text| {
        text.parse().expect("SHMFUSE_SOAK_SECONDS: a number")
    });
    Duration::from_secs(seconds)
}

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// How far each slot is, in a file that all processes have open.
struct Progress(File);

#[derive(Clone, Copy)]
enum Mark {
    Begun = 0,
    Done = 1,
}

impl Progress {
    fn at(slot: usize, mark: Mark) -> u64 {
        (slot as u64 * 2 + mark as u64) * 8
    }

    fn set(&self, slot: usize, mark: Mark, state: u64) {
        let at = Self::at(slot, mark);
        self.0.write_all_at(&state.to_ne_bytes(), at).unwrap();
    }

    fn get(&self, slot: usize, mark: Mark) -> u64 {
        let mut bytes = [0; 8];
        self.0
            .read_exact_at(&mut bytes, Self::at(slot, mark))
            .unwrap();
        u64::from_ne_bytes(bytes)
    }
}

struct Plan {
    /// Ways to each slot's directory: below, and through each mount.
    ways: Vec<PathBuf>,
    progress: Progress,
    until: Instant,
    bound: Duration,
}

impl Plan {
    fn write(&self, mut random: Random, writer: usize) {
        let own = |slot: &usize| slot % READERS == writer;
        let slots: Vec<_> = (0..Kind::ALL.len()).filter(own).collect();
        let mut states = vec![0; Kind::ALL.len()];
        while Instant::now() < self.until {
            let slot = slots[random.next() as usize % slots.len()];
            let way = &self.ways[random.next() as usize % self.ways.len()];
            let to = states[slot] + 1;
            self.progress.set(slot, Mark::Begun, to);
            self.advance(slot, way, to);
            self.progress.set(slot, Mark::Done, to);
            states[slot] = to;
            match random.next() % 16 {
                0 => std::thread::sleep(Duration::from_millis(random.next() % 20)),
                1..8 => std::thread::yield_now(),
                _ => {}
            }
        }
    }

    /// A mount that is behind may refuse what is possible below: it is tried until the bound is over.
    fn advance(&self, slot: usize, way: &Path, to: u64) {
        let (kind, start) = (Kind::ALL[slot], Instant::now());
        let mut refusals = Refusals::default();
        loop {
            match kind.advance(way, to) {
                Ok(()) => return,
                Err(error) if start.elapsed() < self.bound && is_of_staleness(&error) => {
                    refusals.add(&error, start.elapsed());
                }
                Err(error) => panic!(
                    "{kind:?} to {to} by {}: {error}, after {refusals:?}; {}",
                    way.display(),
                    self.after_refusals(slot, way, to)
                ),
            }
        }
    }

    /// Tells a mount that is behind from a move that had its effect when it was refused first (then below
    /// is in the later state already), and from one that stays wrong.
    fn after_refusals(&self, slot: usize, way: &Path, to: u64) -> String {
        let (kind, start) = (Kind::ALL[slot], Instant::now());
        let below = [0, 1, 2, 3].map(|choice| kind.look(&self.ways[0], choice).ok());
        let by_it = [0, 1, 2, 3].map(|choice| kind.look(way, choice).ok());
        let revoked = self.revoked();
        let told = loop {
            match kind.advance(way, to) {
                Ok(()) => break format!("done {:?} later", start.elapsed()),
                Err(error) if start.elapsed() > BOUND * 6 => break format!("and still {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        format!(
            "below {below:?}, by it {by_it:?}; {told}; revoked {revoked}, then {}",
            self.revoked()
        )
    }

    /// What each mount counts of its coherence: a revoker that is behind goes on, one that is stuck does not.
    fn revoked(&self) -> String {
        let counters = self.ways[1..].iter().map(|way| {
            let shown = try_stat(way).map(|shown| shown["coherence"].to_string());
            shown.unwrap_or_else(|| "nothing".into())
        });
        counters.collect::<Vec<_>>().join(" and ")
    }

    fn read(&self, mut random: Random) -> u64 {
        let mut history: Vec<VecDeque<(Instant, u64)>> = vec![VecDeque::new(); Kind::ALL.len()];
        let mut looks = 0;
        while Instant::now() < self.until {
            let slot = random.next() as usize % Kind::ALL.len();
            let way = &self.ways[1 + random.next() as usize % (self.ways.len() - 1)];
            let begin = Instant::now();
            let done = self.progress.get(slot, Mark::Done);
            let past = &mut history[slot];
            past.push_back((begin, done));
            // The newest state that was done a bound ago.
            while past
                .get(1)
                .is_some_and(|(time, _)| begin - *time >= self.bound)
            {
                past.pop_front();
            }
            let first = match past.front() {
                Some((time, state)) if begin - *time >= self.bound => *state,
                _ => 0,
            };
            let sight = self.look(Kind::ALL[slot], way, random.next());
            let last = self.progress.get(slot, Mark::Begun);
            let kind = Kind::ALL[slot];
            assert!(
                // The kernel tries again once: it has met two that went.
                sight.map_or(last >= first + 2, |sight| sight.is_of(first, last)),
                "{kind:?} by {}: {sight:?} is none of the states {first} to {last}; the look took {:?}, {}",
                way.display(),
                begin.elapsed(),
                self.afterwards(slot, way)
            );
            looks += 1;
        }
        looks
    }

    /// Tells a mount that is slow from one that stays wrong: says when each way to look is right again.
    fn afterwards(&self, slot: usize, way: &Path) -> String {
        let (kind, start) = (Kind::ALL[slot], Instant::now());
        let state = |mark| self.progress.get(slot, mark);
        let revoked = self.revoked();
        loop {
            let first = state(Mark::Done);
            let sights = [0, 1, 2, 3].map(|choice| kind.look(way, choice).ok());
            let last = state(Mark::Begun);
            let is_right = |sight: &Option<Sight>| sight.is_some_and(|s| s.is_of(first, last));
            if sights.iter().all(is_right) {
                let time = start.elapsed();
                return format!(
                    "right {time:?} later; revoked {revoked}, then {}",
                    self.revoked()
                );
            }
            if start.elapsed() > BOUND * 6 {
                return format!(
                    "and later still {sights:?} for {first} to {last}; revoked {revoked}, then {}",
                    self.revoked()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `None` if a name led to what went meanwhile.
    fn look(&self, kind: Kind, way: &Path, choice: u64) -> Option<Sight> {
        match kind.look(way, choice) {
            Ok(sight) => Some(sight),
            Err(error) if is_of_removal(kind, &error) => None,
            Err(error) => panic!("{kind:?} by {}: {error}", way.display()),
        }
    }
}

/// What a move was refused with until it was given up.
#[derive(Default, Debug)]
struct Refusals {
    count: u64,
    /// The first: all others may follow from it, if it came after the move's effect.
    first: Option<(String, Duration)>,
}

impl Refusals {
    fn add(&mut self, error: &io::Error, at: Duration) {
        self.count += 1;
        self.first.get_or_insert_with(|| (error.to_string(), at));
    }
}

/// What a mount says that does not know yet what was done elsewhere.
fn is_of_staleness(error: &io::Error) -> bool {
    let known = [
        nix::libc::ENOENT,
        nix::libc::EEXIST,
        nix::libc::ESTALE,
        nix::libc::ENOTDIR,
        nix::libc::EISDIR,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| known.contains(&code))
}

/// A name leads to an inode that is gone when its attributes are asked for (ESTALE, after one retry of
/// the kernel's): only of those whose inodes go.
fn is_of_removal(kind: Kind, error: &io::Error) -> bool {
    let removed = [Kind::Replaced, Kind::Target, Kind::Name, Kind::Directory];
    removed.contains(&kind) && error.raw_os_error() == Some(nix::libc::ESTALE)
}

fn what_is_seen_is_what_was_there(variant: Variant) {
    let time = seconds();
    let _watchdog = Watchdog::start("random", time * 3 + crate::common::LIMIT);
    for &seed in KEPT {
        run(variant, seed, Duration::from_millis(500));
    }
    let seed = env::var("SHMFUSE_SEED").map_or_else(
        |_| {
            u64::from(std::process::id()) << 32 | u64::from(Instant::now().elapsed().subsec_nanos())
        },
        |text| text.parse().expect("SHMFUSE_SEED: a number"),
    );
    run(variant, seed, time);
}

fn run(variant: Variant, seed: u64, time: Duration) {
    eprintln!("{}: SHMFUSE_SEED={seed}", variant.name());
    let one = TestMount::new(variant);
    let two = TestMount::builder(variant).lower(one.lower()).mount();
    for kind in Kind::ALL {
        kind.prepare(one.lower());
    }
    let shared = temp_dir(crate::common::LowerFs::Memory);
    let progress = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(shared.path().join("progress"))
        .unwrap();
    progress.set_len(Kind::ALL.len() as u64 * 16).unwrap();
    let plan = Plan {
        ways: [one.lower(), one.path(), two.path()]
            .map(Path::to_owned)
            .into(),
        progress: Progress(progress),
        until: Instant::now() + time,
        bound: if variant.is_cached() {
            BOUND
        } else {
            Duration::ZERO
        },
    };
    let mut random = Random(seed);
    let mut children = Vec::new();
    for process in 0..READERS {
        let (writer, reader) = (Random(random.next()), Random(random.next()));
        children.push(Forked::start(|| plan.write(writer, process)));
        children.push(Forked::start(|| {
            let looks = plan.read(reader);
            fs::write(shared.path().join(process.to_string()), looks.to_string()).unwrap();
        }));
    }
    children.into_iter().for_each(Forked::join);
    for (slot, kind) in Kind::ALL.into_iter().enumerate() {
        let state = plan.progress.get(slot, Mark::Done);
        for way in &plan.ways[1..] {
            for choice in 0..4 {
                let is_so = || {
                    kind.look(way, choice)
                        .is_ok_and(|sight| sight.is_of(state, state))
                };
                if variant.is_cached() {
                    wait_until("the last state is seen", is_so);
                } else {
                    assert!(is_so(), "{kind:?} by {}, state {state}", way.display());
                }
            }
        }
    }
    let moves: u64 = (0..Kind::ALL.len())
        .map(|slot| plan.progress.get(slot, Mark::Done))
        .sum();
    let looks = (0..READERS)
        .map(|process| fs::read_to_string(shared.path().join(process.to_string())).unwrap());
    eprintln!(
        "{}: {moves} moves, looks {:?}",
        variant.name(),
        looks.collect::<Vec<_>>()
    );
    two.finish();
    one.finish();
}

for_strict_and_coherent!(on_long_variant, [what_is_seen_is_what_was_there]);
variant_tests!(
    full_run_uring_strict,
    Variant::URING_COPY,
    on_long_variant,
    [what_is_seen_is_what_was_there]
);
variant_tests!(
    full_run_shm_kernel_strict,
    Variant::SHM_KERNEL_COPY,
    on_long_variant,
    [what_is_seen_is_what_was_there]
);
variant_tests!(
    full_run_shm_kernel_coherent,
    Variant::SHM_KERNEL_COPY.coherent(),
    on_long_variant,
    [what_is_seen_is_what_was_there]
);
