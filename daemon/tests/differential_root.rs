//! Random sequences of operations on a mount and, step by step, on a plain directory of the same
//! file system: results, errors, attributes and contents must be equal.
//!
//! Each sequence runs in a directory of its own. Cases that once failed are kept in
//! `differential_root.proptest-regressions` and run first.

#[macro_use]
mod common;

#[path = "differential_root/observe.rs"]
mod observe;
#[path = "differential_root/op.rs"]
mod op;
#[path = "differential_root/perform.rs"]
mod perform;
#[path = "differential_root/strategy.rs"]
mod strategy;
#[path = "differential_root/world.rs"]
mod world;

use common::{
    LowerFs, TestMount, Tree, Variant, identity, image::Image, mount::MountBuilder, scale,
};
use observe::Scope;
use op::Step;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use std::{cell::Cell, path::Path};
use world::World;

/// Sequences at scale 1.
const CASES: u64 = 40;

/// Steps of a sequence at most.
const STEPS: usize = 60;

fn sequences_behave_as_on_a_plain_directory(variant: Variant) {
    compare_sequences(TestMount::builder(variant), Scope::of(variant));
}

fn sequences_behave_as_on_tmpfs(variant: Variant) {
    let builder = TestMount::builder(variant).lower_fs(LowerFs::Memory);
    compare_sequences(builder, without_allocations(variant));
}

fn sequences_behave_as_on_xfs(variant: Variant) {
    let image = Image::make("xfs");
    let (lower, plain) = (image.dir("lower"), image.dir("plain"));
    let builder = TestMount::builder(variant).lower(&lower).plain(&plain);
    compare_sequences(builder, without_allocations(variant));
}

fn sequences_behave_as_on_btrfs(variant: Variant) {
    let image = Image::make("btrfs");
    let (lower, plain) = (image.dir("lower"), image.dir("plain"));
    let builder = TestMount::builder(variant).lower(&lower).plain(&plain);
    compare_sequences(builder, without_allocations(variant));
}

fn without_allocations(variant: Variant) -> Scope {
    Scope {
        allocations: false,
        ..Scope::of(variant)
    }
}

fn compare_sequences(builder: MountBuilder, scope: Scope) {
    identity::own_umask();
    let mount = builder.args(&["-o", "dev,suid"]).mount();
    let sides = Sides::new(&mount, scope);
    let config = Config {
        cases: u32::try_from(CASES * scale::factor()).expect("a number of cases"),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/differential_root.proptest-regressions"
        )))),
        // `Sides::smallest` does it in fewer runs.
        max_shrink_iters: 0,
        ..Config::default()
    };
    // The same sequences at scale 1, so that a change is judged by itself; others each time above it.
    let mut runner = match scale::factor() {
        1 => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, rng)
        }
        _ => TestRunner::new(config),
    };
    let outcome = runner.run(&strategy::sequence(STEPS), |steps| {
        sides
            .compare(&steps)
            .map_err(|failure| TestCaseError::fail(failure.what))
    });
    match outcome {
        Ok(()) => {
            mount.finish();
        }
        Err(TestError::Fail(_, steps)) => sides.fail(steps),
        Err(error) => panic!("{error}"),
    }
}

/// A difference between the two sides.
struct Failure {
    /// Steps up to the one after which they differ.
    steps: usize,
    what: String,
}

/// The mount, the directory below it, and a plain one; each sequence in a new directory.
struct Sides<'a> {
    mount: &'a TestMount,
    cases: Cell<u32>,
    scope: Scope,
}

impl<'a> Sides<'a> {
    fn new(mount: &'a TestMount, scope: Scope) -> Self {
        Self {
            mount,
            cases: Cell::new(0),
            scope,
        }
    }

    /// Carries out a sequence on both sides.
    fn compare(&self, steps: &[Step]) -> Result<(), Failure> {
        self.cases.set(self.cases.get() + 1);
        let name = format!("case{}", self.cases.get());
        let scope = self.scope;
        let mut on_mount = World::make(&self.mount.path().join(&name), scope);
        let mut on_plain = World::make(&self.mount.plain().join(&name), scope);
        let failure = |steps| move |what| Failure { steps, what };
        same("the start", &on_mount.observe(), &on_plain.observe()).map_err(failure(0))?;
        for (number, step) in steps.iter().enumerate() {
            next_tick();
            let (got, expected) = (on_mount.perform(step), on_plain.perform(step));
            same(&format!("the result of {step:?}"), &got, &expected)
                .map_err(failure(number + 1))?;
            let (got, expected) = (on_mount.observe(), on_plain.observe());
            same(&format!("what is seen after {step:?}"), &got, &expected)
                .map_err(failure(number + 1))?;
        }
        drop((on_mount, on_plain));
        let tree = |root: &Path| {
            let mut tree = Tree::of(&root.join(&name));
            for entry in tree.0.values_mut() {
                entry.mode = scope.of_mode(entry.mode);
            }
            tree
        };
        let plain = tree(self.mount.plain());
        same("the tree on the mount", &tree(self.mount.path()), &plain)
            .and_then(|()| same("the tree below", &tree(self.mount.lower()), &plain))
            .map_err(failure(steps.len()))
    }

    /// Leaves out whatever can be left out of a failing sequence, and fails the test with the rest.
    fn fail(&self, mut steps: Vec<Step>) -> ! {
        let mut last = None;
        let mut index = steps.len();
        loop {
            if let Err(failure) = self.compare(&steps) {
                steps.truncate(failure.steps);
                index = index.min(steps.len());
                last = Some((failure.what, steps.clone()));
            } else if let Some((_, failing)) = &last {
                steps.clone_from(failing);
            }
            if index == 0 {
                break;
            }
            index -= 1;
            if index + 1 < steps.len() {
                steps.remove(index);
            }
        }
        let Some((what, steps)) = last else {
            panic!("a sequence failed once, and not again");
        };
        let steps: Vec<_> = steps.iter().map(|step| format!("    {step:?}\n")).collect();
        panic!("{what}\nThe sequence:\n{}", steps.concat());
    }
}

/// Waits until the clock that file times are taken from has moved on: a change within the tick of the
/// one before leaves the times as they were (`current_time`, fs/inode.c), on one side perhaps and not on
/// the other.
fn next_tick() {
    use rustix::time::{ClockId, clock_gettime};
    let now = || {
        let time = clock_gettime(ClockId::RealtimeCoarse);
        (time.tv_sec, time.tv_nsec)
    };
    let before = now();
    while now() == before {
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    // Entries of a list on a line each, so that those that are equal can be left out.
    let lines = |value: &T| -> Vec<String> {
        let text = format!("{value:?}");
        text.split("), (").map(str::to_owned).collect()
    };
    let (got, expected) = (lines(got), lines(expected));
    let only_in = |these: &[String], others: &[String]| -> String {
        let differing = these.iter().filter(|line| !others.contains(line));
        differing.map(|line| format!("    {line}\n")).collect()
    };
    Err(format!(
        "{what}:\non the mount\n{}expected\n{}",
        only_in(&got, &expected),
        only_in(&expected, &got)
    ))
}

for_every_variant!(on_variant, [sequences_behave_as_on_a_plain_directory]);

/// Other lower file systems: what differs between them differs for every transport alike.
mod other_lower {
    use super::{
        sequences_behave_as_on_btrfs, sequences_behave_as_on_tmpfs, sequences_behave_as_on_xfs,
    };
    variant_tests!(
        native,
        Variant::Native,
        on_variant,
        [
            sequences_behave_as_on_tmpfs,
            sequences_behave_as_on_xfs,
            sequences_behave_as_on_btrfs
        ]
    );
    variant_tests!(
        uring_copy_strict,
        Variant::URING_COPY,
        on_variant,
        [
            sequences_behave_as_on_tmpfs,
            sequences_behave_as_on_xfs,
            sequences_behave_as_on_btrfs
        ]
    );
    variant_tests!(
        classic_passthrough_strict,
        Variant::CLASSIC_PASSTHROUGH,
        on_variant,
        [
            sequences_behave_as_on_tmpfs,
            sequences_behave_as_on_xfs,
            sequences_behave_as_on_btrfs
        ]
    );
}
