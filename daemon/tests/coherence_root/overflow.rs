//! More changes than the ring and the queue of reports hold, while the daemon is stopped: nothing
//! wrong is left.

use crate::common::{TestMount, Variant, stat, wait_until};
use nix::sys::signal::Signal;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// The ring of inodes holds 16384 reports, the queue of names as many (fs.fanotify.max_queued_events).
const FILES: usize = 17_500;

fn reports_that_are_lost_revoke_everything(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let (above, below) = (mount.path().to_owned(), mount.lower().to_owned());
    let names: Vec<_> = (0..FILES).map(|number| format!("f{number}")).collect();
    for name in &names {
        fs::write(below.join(name), "").unwrap();
    }
    for name in &names {
        fs::metadata(above.join(name)).unwrap();
        assert!(!above.join(format!("m{name}")).exists());
    }
    mount.the_daemon().signal(Signal::SIGSTOP);
    for (number, name) in names.iter().enumerate() {
        fs::set_permissions(below.join(name), Permissions::from_mode(0o700)).unwrap();
        if number % 2 == 0 {
            fs::rename(below.join(name), below.join(format!("m{name}"))).unwrap();
        }
    }
    mount.the_daemon().signal(Signal::SIGCONT);
    let as_below = |name: &str| {
        let mode =
            |dir: &std::path::Path| fs::metadata(dir.join(name)).map(|meta| meta.mode()).ok();
        mode(&above) == mode(&below)
    };
    for name in &names {
        wait_until("all is as it is below", || {
            as_below(name) && as_below(&format!("m{name}"))
        });
    }
    let shown = stat(&above);
    assert!(shown["coherence"]["source"].is_string(), "{shown:#}");
    assert!(
        shown["coherence"]["overflows"].as_u64() >= Some(1),
        "{shown:#}"
    );
    mount.finish();
}

variant_tests!(
    classic_copy_coherent,
    Variant::CLASSIC_COPY.coherent(),
    on_variant,
    [reports_that_are_lost_revoke_everything]
);
variant_tests!(
    shm_passthrough_coherent,
    Variant::SHM_PASSTHROUGH.coherent(),
    on_variant,
    [reports_that_are_lost_revoke_everything]
);
