//! Owners, groups, modes and validity that are shown otherwise than they are below (`[[transform]]` in a
//! file of rules), and requests that are made by who is shown otherwise.

#[macro_use]
mod common;

/// Makes every test listed into one for each way in which a reply reaches the kernel.
macro_rules! for_every_way {
    ($runner:ident, $tests:tt) => {
        variant_tests!(
            classic_coherent,
            Variant::CLASSIC_COPY.coherent(),
            $runner,
            $tests
        );
        variant_tests!(uring_strict, Variant::URING_COPY, $runner, $tests);
        variant_tests!(shm_strict, Variant::SHM_PASSTHROUGH, $runner, $tests);
        variant_tests!(shm_coherent, Variant::SHM_COPY.coherent(), $runner, $tests);
        variant_tests!(
            full_run_shm_kernel_strict,
            Variant::SHM_KERNEL_COPY,
            $runner,
            $tests
        );
        variant_tests!(
            full_run_splice_coherent,
            Variant::SPLICE_COPY.coherent(),
            $runner,
            $tests
        );
        variant_tests!(full_run_uring_ttl1, Variant::URING_NO_OPEN, $runner, $tests);
    };
}

#[path = "transform_root/acls.rs"]
mod acls;
#[path = "transform_root/changes.rs"]
mod changes;
#[path = "transform_root/permissions.rs"]
mod permissions;
#[path = "transform_root/replies.rs"]
mod replies;
#[path = "transform_root/shown.rs"]
mod shown;
