//! More at once than there are slots for, and others beside it who use the same things.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`queue`] | many processes against few slots |
//! | [`neighbours`] | mounts and a foreign io_uring program at once |

#[macro_use]
mod common;

/// Makes every test listed into one for each engine.
macro_rules! with_each_engine {
    ($tests:tt) => {
        variant_tests!(worker, Variant::SHM_COPY, on_variant, $tests);
        variant_tests!(kernel, Variant::SHM_KERNEL_COPY, on_variant, $tests);
    };
}

#[path = "pressure_root/neighbours.rs"]
mod neighbours;
#[path = "pressure_root/queue.rs"]
mod queue;
#[path = "faults_root/victims.rs"]
mod victims;
