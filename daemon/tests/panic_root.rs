//! A bug in the daemon ends the mount, and hangs nobody.

mod common;

use common::{
    LIMIT, LowerFs, Watchdog,
    mount::{is_fuse_mountpoint, temp_dir},
    wait_until,
    watchdog::{guard_mountpoint, release_mountpoint},
};
use shmfuse::{
    config::{Config, TransportChoice, TransportKind},
    fuse::{Answer, Backing, Exchange, FileSystem, Negotiated, ServeThread},
    lifecycle::{Announce, run_with},
    log::{self, Level},
    passthrough::Passthrough,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};
use transport::wire::{InHeader, Opcode};

/// Names the directory of the test to the process that mounts.
const PLACE: &str = "SHMFUSE_TEST_PANIC";

/// A file system that a thread does not survive when it is asked for a directory: not while it
/// serves, where a panic is answered with EIO, but where the transport asks it something.
struct Fragile(Passthrough);

impl FileSystem for Fragile {
    fn init(&self, negotiated: &Negotiated) {
        self.0.init(negotiated);
    }

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        self.0.serve(thread, exchange)
    }

    fn forget(&self, nodeid: u64, nlookup: u64) {
        self.0.forget(nodeid, nlookup);
    }

    fn may_block(&self, header: &InHeader, fixed: &[u8]) -> bool {
        assert!(header.opcode != Opcode::MKDIR, "as the test wants it");
        self.0.may_block(header, fixed)
    }

    fn destroy(&self) {
        self.0.destroy();
    }

    fn holdings(&self) -> String {
        self.0.holdings()
    }
}

/// The daemon of the test, in the foreground.
fn serve(place: &Path, kind: TransportKind) -> ExitCode {
    let config = Config {
        transport: TransportChoice::Only(kind),
        threads: 2,
        queue_depth: 4,
        ..Config::plain(place.join("lower"), place.join("mnt"))
    };
    log::start(log::Target::Stderr, Level::Info, log::Format::Text);
    let make = |config: &Config, backing: Arc<dyn Backing>| {
        Ok(Arc::new(Fragile(Passthrough::new(config, backing)?)) as Arc<dyn FileSystem>)
    };
    match run_with(config, Announce::Log, make) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shmfuse: {error}");
            ExitCode::FAILURE
        }
    }
}

fn a_panic_ends_the_mount(kind: TransportKind, test: &str) {
    if let Some(place) = env::var_os(PLACE).map(PathBuf::from) {
        // This process is the daemon. Its status is all that the test looks at.
        let status = serve(&place, kind) == ExitCode::SUCCESS;
        std::process::exit(i32::from(!status));
    }
    let _watchdog = Watchdog::start(test, LIMIT);
    let place = temp_dir(LowerFs::Disk);
    let mnt = place.path().join("mnt");
    for dir in [&mnt, &place.path().join("lower")] {
        fs::create_dir(dir).expect("a directory");
    }
    guard_mountpoint(&mnt);
    let log = fs::File::create(place.path().join("log")).expect("a log");
    let mut daemon = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(PLACE, place.path())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the daemon");
    let log = || fs::read_to_string(place.path().join("log")).expect("the log");
    wait_until("it is mounted", || {
        let ended = daemon.try_wait().expect("its status");
        assert_eq!(ended, None, "{}", log());
        is_fuse_mountpoint(&mnt) && fs::metadata(&mnt).is_ok()
    });
    fs::create_dir(mnt.join("new")).expect_err("nobody answers");
    let status = daemon.wait().expect("its status");
    assert!(!status.success(), "{}", log());
    assert!(!is_fuse_mountpoint(&mnt), "{}", log());
    let log = log();
    assert!(log.contains("panicked at"), "{log}");
    assert!(!log.contains("stack backtrace"), "{log}");
    release_mountpoint(&mnt);
}

#[test]
#[ignore = "root"]
fn a_panic_ends_a_classic_mount() {
    a_panic_ends_the_mount(TransportKind::Classic, "a_panic_ends_a_classic_mount");
}

#[test]
#[ignore = "root"]
fn a_panic_ends_a_splice_mount() {
    a_panic_ends_the_mount(TransportKind::Splice, "a_panic_ends_a_splice_mount");
}

#[test]
#[ignore = "root"]
fn a_panic_ends_a_uring_mount() {
    a_panic_ends_the_mount(TransportKind::Uring, "a_panic_ends_a_uring_mount");
}
