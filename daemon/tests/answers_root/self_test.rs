//! The self-test of sources of changes decides whether anything is answered.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant};
use std::fs;

/// Asks on a mount whose self-test takes a kind of change for unreported: nothing is answered. What its log
/// says.
fn of_a_source_that_misses(variant: Variant, kind: &str) -> String {
    let builder = TestMount::builder(variant).args(&["--selftest-misses", kind]);
    let mount = mounted(builder);
    fs::write(mount.lower().join("file"), "text").unwrap();
    for _ in 0..10 {
        fs::metadata(mount.path().join("file")).unwrap();
    }
    let counted = Counted::of(&mount);
    assert!(!counted.is_on(), "{kind}");
    assert_eq!(counted.all_answered(), 0, "{kind}");
    let log = mount.daemon_seen().expect("a daemon").log();
    mount.finish();
    log
}

fn what_changes_unnoticed_is_not_answered(variant: Variant) {
    let said = "kernel programs answer nothing, for they do not notice changes";
    for kind in [
        "chmod",
        "setxattr",
        "a write to a mapping",
        "rename over another",
    ] {
        let log = of_a_source_that_misses(variant, kind);
        assert!(log.contains(said), "{log}");
        assert!(log.contains(&format!("{kind} was not reported")), "{log}");
    }
    // fanotify does without that one, and is proven: the programs answer nothing all the same.
    let log = of_a_source_that_misses(variant.coherent(), "a write to a mapping");
    assert!(
        log.contains("changes below are reported by fanotify"),
        "{log}"
    );
    assert!(log.contains(said), "{log}");
}

variant_tests!(
    worker,
    Variant::SHM_COPY,
    on_variant,
    [what_changes_unnoticed_is_not_answered]
);
