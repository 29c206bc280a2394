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

use common::{TestMount, Tree, Variant, identity, scale};
use op::Step;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};
use std::{cell::Cell, path::Path};
use world::World;

/// Sequences at scale 1.
const CASES: u64 = 40;

/// Steps of a sequence at most.
const STEPS: usize = 60;

fn sequences_behave_as_on_a_plain_directory(variant: Variant) {
    identity::own_umask();
    let mount = TestMount::builder(variant)
        .args(&["-o", "dev,suid"])
        .mount();
    let config = Config {
        cases: u32::try_from(CASES * scale::factor()).expect("a number of cases"),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/differential_root.proptest-regressions"
        )))),
        max_shrink_iters: 400,
        ..Config::default()
    };
    let number = Cell::new(0);
    let outcome = TestRunner::new(config).run(&strategy::sequence(STEPS), |steps| {
        number.set(number.get() + 1);
        one_case(&mount, &format!("case{}", number.get()), &steps)
    });
    match outcome {
        Ok(()) => mount.finish(),
        Err(TestError::Fail(reason, steps)) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("    {step:?}\n")).collect();
            panic!(
                "{reason}\nafter the smallest such sequence:\n{}",
                steps.concat()
            );
        }
        Err(error) => panic!("{error}"),
    }
}

fn one_case(mount: &TestMount, name: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut on_mount = World::make(&mount.path().join(name));
    let mut on_plain = World::make(&mount.plain().join(name));
    same("the start", &on_mount.observe(), &on_plain.observe())?;
    for (number, step) in steps.iter().enumerate() {
        let what = format!("step {number}, {step:?}");
        let (got, expected) = (on_mount.perform(step), on_plain.perform(step));
        same(&format!("the result of {what}"), &got, &expected)?;
        same(
            &format!("what is seen after {what}"),
            &on_mount.observe(),
            &on_plain.observe(),
        )?;
    }
    drop((on_mount, on_plain));
    let tree = |root: &Path| Tree::of(&root.join(name));
    let plain = tree(mount.plain());
    same(
        "the tree on the mount at the end",
        &tree(mount.path()),
        &plain,
    )?;
    same(
        "the tree below the mount at the end",
        &tree(mount.lower()),
        &plain,
    )
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: &T,
    expected: &T,
) -> Result<(), TestCaseError> {
    if got == expected {
        return Ok(());
    }
    let (got, expected) = (format!("{got:#?}"), format!("{expected:#?}"));
    Err(TestCaseError::fail(format!(
        "{what}:\n{}",
        difference(&got, &expected)
    )))
}

/// The lines that differ, with one around them for context.
fn difference(got: &str, expected: &str) -> String {
    let (got, expected): (Vec<_>, Vec<_>) = (got.lines().collect(), expected.lines().collect());
    let start = got
        .iter()
        .zip(&expected)
        .take_while(|(a, b)| a == b)
        .count();
    let (got_rest, expected_rest) = (&got[start..], &expected[start..]);
    let end = got_rest
        .iter()
        .rev()
        .zip(expected_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let around = got[start.saturating_sub(8)..start].join("\n");
    let part = |lines: &[&str]| lines[..lines.len() - end].join("\n");
    format!(
        "{around}\n--- on the mount\n{}\n--- expected\n{}",
        part(got_rest),
        part(expected_rest)
    )
}

for_every_variant!(on_variant, [sequences_behave_as_on_a_plain_directory]);
