//! Signals of which the kernel does not tell (daemon/src/fuse/interrupt.rs).

use super::{install, is_asleep, open, set, set_waiting};
use crate::common::{TestMount, Variant, child::Forked, wait_until};
use nix::{
    errno::Errno,
    libc,
    sys::signal::{Signal, kill},
    unistd::getpid,
};

/// Over io_uring the kernel does not tell of a signal that comes before the daemon has the request.
fn a_signal_that_comes_before_its_request_ends_the_wait(variant: Variant) {
    let mut mount = TestMount::new(variant);
    let path = mount.path().join("file");
    let file = open(&path);
    set(&file, libc::F_WRLCK, 0, 0).unwrap();
    let child = Forked::start(|| {
        install(Signal::SIGUSR1);
        let file = open(&path);
        // The daemon stands still from here on.
        kill(getpid(), Signal::SIGSTOP).unwrap();
        assert_eq!(
            set_waiting(&file, libc::F_RDLCK, 0, 0).unwrap_err(),
            Errno::EINTR
        );
    });
    let is_in = |state: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        stat.contains(&format!(") {state} "))
    };
    wait_until("the other stands still", || is_in("T"));
    mount.the_daemon().stop();
    kill(child.pid(), Signal::SIGCONT).unwrap();
    wait_until("the other waits", || is_asleep(child.pid()));
    kill(child.pid(), Signal::SIGUSR1).unwrap();
    wait_until("its signal has come", || !is_in("S"));
    mount.the_daemon().signal(Signal::SIGCONT);
    child.join();
    drop(file);
    mount.finish();
}

variant_tests!(
    classic,
    Variant::CLASSIC_COPY,
    on_variant,
    [a_signal_that_comes_before_its_request_ends_the_wait]
);
variant_tests!(
    uring,
    Variant::URING_COPY,
    on_variant,
    [a_signal_that_comes_before_its_request_ends_the_wait]
);
variant_tests!(
    shm,
    Variant::SHM_COPY,
    on_variant,
    [a_signal_that_comes_before_its_request_ends_the_wait]
);
