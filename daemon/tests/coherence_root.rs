//! The lower directory changes behind the mount, and the mount says so: at once with `--cache strict`,
//! as soon as the revoker has run with `--cache coherent` (docs/coherence.md).

#[macro_use]
mod common;

/// Makes every test listed into one test for each transport, strict and coherent.
macro_rules! for_strict_and_coherent {
    ($runner:ident, $tests:tt) => {
        variant_tests!(classic_strict, Variant::CLASSIC_COPY, $runner, $tests);
        variant_tests!(shm_strict, Variant::SHM_PASSTHROUGH, $runner, $tests);
        for_every_coherent_variant!($runner, $tests);
    };
}

/// The same, coherent alone.
macro_rules! for_every_coherent_variant {
    ($runner:ident, $tests:tt) => {
        variant_tests!(
            classic_copy_coherent,
            Variant::CLASSIC_COPY.coherent(),
            $runner,
            $tests
        );
        variant_tests!(
            splice_passthrough_coherent,
            Variant::SPLICE_PASSTHROUGH.coherent(),
            $runner,
            $tests
        );
        variant_tests!(
            uring_copy_coherent,
            Variant::URING_COPY.coherent(),
            $runner,
            $tests
        );
        variant_tests!(
            shm_passthrough_coherent,
            Variant::SHM_PASSTHROUGH.coherent(),
            $runner,
            $tests
        );
    };
}

#[path = "coherence_root/killed.rs"]
mod killed;
#[path = "coherence_root/kinds.rs"]
mod kinds;
#[path = "coherence_root/listings.rs"]
mod listings;
#[path = "coherence_root/mounts.rs"]
mod mounts;
#[path = "coherence_root/overflow.rs"]
mod overflow;
#[path = "coherence_root/overtaken.rs"]
mod overtaken;
#[path = "coherence_root/random.rs"]
mod random;
#[path = "coherence_root/slots.rs"]
mod slots;
#[path = "coherence_root/sources.rs"]
mod sources;
