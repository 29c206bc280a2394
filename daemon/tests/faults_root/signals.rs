//! A daemon that is stopped, and one that is killed.

use crate::{
    common::{TestMount, Variant, scale},
    trial::Trial,
};
use nix::sys::signal::Signal;
use std::{thread, time::Duration};

fn start(variant: Variant) -> Trial {
    Trial::start(TestMount::builder(variant).args(&["--queue-depth", "4"]))
}

fn nothing_is_lost_when_the_daemon_is_stopped_and_goes_on(variant: Variant) {
    let mut trial = start(variant);
    for pause in 0..4 * scale::factor() {
        trial.mount.the_daemon().signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(pause % 4 * 400));
        trial.mount.the_daemon().signal(Signal::SIGCONT);
        trial.victims.wait_for_progress(1);
    }
    let outcome = trial.aftermath();
    outcome.print("stopped and continued");
    assert!(outcome.goes_on() && outcome.fates.lost == 0, "{outcome:?}");
}

fn whoever_waits_is_told_when_the_daemon_is_killed(variant: Variant) {
    for _ in 0..3 * scale::factor() {
        let mut trial = start(variant);
        trial.mount.the_daemon().signal(Signal::SIGKILL);
        let outcome = trial.aftermath();
        outcome.print("killed");
        assert!(outcome.fates.ended > 0, "{outcome:?}");
    }
}

with_each_engine!([
    nothing_is_lost_when_the_daemon_is_stopped_and_goes_on,
    whoever_waits_is_told_when_the_daemon_is_killed,
]);
