//! The questions. Each model is a function that panics in some execution if the answer is no.

pub mod cq;
pub mod fact;
pub mod generation;
pub mod interest;
pub mod lane;
pub mod lookups;
pub mod park;
pub mod place;
pub mod restart;
pub mod rules;
pub mod session;
pub mod slot;
pub mod sq;
pub mod stats;
pub mod worker;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

/// How many executions have been explored in this process.
pub fn executions() -> u64 {
    EXECUTIONS.load(Relaxed)
}

/// Explores every execution of `model` with at most `preemptions` preemptions (`None`: all).
pub(crate) fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Relaxed);
        model();
    });
}
