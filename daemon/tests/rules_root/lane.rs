//! The lane for bulk: who waits there, and who does not.

use super::rules::{met, replace};
use crate::common::{TestMount, Variant, Watchdog, watchdog::wait_until};
use rustix::{
    fs::{CWD, Mode, OFlags, fstat, openat},
    io::pread,
};
use std::{
    fs,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// More than the lane has threads, and than there are queues.
const READERS: usize = 12;

/// So many that the lane does not come to the last for seconds.
const WAITING: usize = 60;

const RULES: &str = "\
    [[rule]]\nname = 'bulk'\naction = 'lane'\nrequests = 'READ'\nsize = '4K-'\n";

fn direct(mount: &TestMount) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECT;
    openat(CWD, mount.path().join("slow"), flags, Mode::empty()).unwrap()
}

fn read(file: &OwnedFd) {
    #[repr(align(4096))]
    struct Aligned([u8; 4096]);
    let mut page = Box::new(Aligned([0; 4096]));
    assert_eq!(pread(file, &mut page.0, 0), Ok(4096));
}

/// Ends the connection under those who wait.
fn abort(mount: &TestMount) {
    let connection = format!("/sys/fs/fuse/connections/{}/abort", mount.connection());
    fs::write(connection, "1").unwrap();
}

fn mounted(variant: Variant) -> TestMount {
    // What is slow is not to go to threads of its own by habit: the rule is to do it.
    let args = [
        "--lower-delay",
        "300ms:slow",
        "--threads",
        "2",
        "--slow-after",
        "0s",
        "--s1",
        "off",
    ];
    let mount = TestMount::builder(variant).args(&args).mount();
    fs::write(mount.lower().join("slow"), [1; 4096]).unwrap();
    fs::write(mount.lower().join("other"), "x").unwrap();
    replace(&mount, RULES);
    mount
}

fn bulk_holds_up_nobody_else_and_is_all_served(variant: Variant) {
    let _watchdog = Watchdog::start("a lane for bulk", Duration::from_secs(60));
    let mount = mounted(variant);
    let slow = direct(&mount);
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                read(&slow);
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        wait_until("all are on the lane", || {
            met(&mount, "bulk").0 >= READERS as u64
        });
        let before = ended.load(Ordering::Relaxed);
        for _ in 0..50 {
            fs::metadata(mount.path().join("other")).unwrap();
        }
        let after = ended.load(Ordering::Relaxed);
        assert!(
            after < READERS,
            "{before} to {after} bulk reads ended meanwhile"
        );
    });
    drop(slow);
    mount.finish();
}

fn an_interrupt_takes_out_of_the_lane_who_waits_there(variant: Variant) {
    let _watchdog = Watchdog::start("an interrupt in the lane", Duration::from_secs(60));
    let mut mount = mounted(variant);
    replace(
        &mount,
        "[[rule]]\nname = 'bulk'\naction = 'lane'\nrequests = ['GETATTR', 'STATX']\n",
    );
    let slow = direct(&mount);
    let ended = AtomicUsize::new(0);
    let before = met(&mount, "bulk").0;
    thread::scope(|scope| {
        for _ in 0..WAITING {
            scope.spawn(|| {
                if fstat(&slow).is_ok() {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let on_lane = |count| met(&mount, "bulk").0 >= before + count as u64;
        wait_until("all are on the lane", || on_lane(WAITING));
        // The link leads to the file itself: nothing is looked up.
        let mut last = Command::new("stat")
            .args(["-L", "/dev/stdin"])
            .stdin(slow.try_clone().unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the last is on the lane", || on_lane(WAITING + 1));
        last.kill().unwrap();
        last.wait().unwrap();
        let ended = ended.load(Ordering::Relaxed);
        assert!(
            ended < WAITING,
            "the last ended after all others: nothing is shown"
        );
        abort(&mount);
    });
    drop(slow);
    mount.the_daemon().wait();
    mount.abandon();
}

fn an_abort_reaches_who_waits_in_the_lane(variant: Variant) {
    let _watchdog = Watchdog::start("an abort of the lane", Duration::from_secs(60));
    let mut mount = mounted(variant);
    let slow = direct(&mount);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut page = [0; 4096];
                let _ = pread(&slow, &mut page, 0);
            });
        }
        wait_until("all are on the lane", || met(&mount, "bulk").0 >= 1);
        abort(&mount);
    });
    drop(slow);
    mount.the_daemon().wait();
    mount.abandon();
}

for_every_transport!(
    on_variant,
    [
        bulk_holds_up_nobody_else_and_is_all_served,
        an_interrupt_takes_out_of_the_lane_who_waits_there,
        an_abort_reaches_who_waits_in_the_lane,
    ]
);
