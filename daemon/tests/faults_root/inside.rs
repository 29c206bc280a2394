//! What is taken from the daemon under its feet. The daemon of these tests is the tests' own process,
//! started once more: its file system does to its own descriptors what the name of a new directory says.

use crate::{
    common::{LowerFs, TestMount, Variant, mount::temp_dir},
    trial::{Outcome, Trial},
};
use shmfuse::{
    config::{Config, Engine, TransportChoice, TransportKind},
    fuse::{Answer, Backing, Exchange, FileSystem, Negotiated, ServeThread},
    lifecycle::{Announce, run_with},
    log::{self, Level},
    passthrough::Passthrough,
};
use std::{
    env, fs,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
};
use transport::wire::{InHeader, Opcode};

/// Names the directory of the test to the process that is to be the daemon.
const PLACE: &str = "SHMFUSE_TEST_FAULTS";
/// Directories of these names are faults, and a symlink.
const PROGRAMS: &str = "no-programs";
const RINGS: &str = "no-rings";
const DEVICE: &str = "no-device";
const PANIC: &str = "panic";

/// A file system that does a fault when it is asked for a directory of its name.
struct Saboteur(Passthrough);

impl FileSystem for Saboteur {
    fn init(&self, negotiated: &Negotiated) {
        self.0.init(negotiated);
    }

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        if exchange.header().opcode == Opcode::MKDIR {
            let name = exchange.payload().split(|&byte| byte == 0).next();
            match std::str::from_utf8(name.unwrap_or_default()) {
                Ok(PROGRAMS) => take_away("anon_inode:bpf_link"),
                Ok(RINGS) => take_away("anon_inode:[io_uring]"),
                Ok(DEVICE) => take_away("/dev/fuse"),
                _ => {}
            }
        }
        self.0.serve(thread, exchange)
    }

    fn forget(&self, nodeid: u64, nlookup: u64) {
        self.0.forget(nodeid, nlookup);
    }

    fn may_block(&self, header: &InHeader, fixed: &[u8]) -> bool {
        // Here a panic is not caught.
        assert!(header.opcode != Opcode::SYMLINK, "as the test wants it");
        self.0.may_block(header, fixed)
    }

    fn destroy(&self) {
        self.0.destroy();
    }

    fn holdings(&self) -> String {
        self.0.holdings()
    }
}

/// Puts something else in the place of every descriptor of this process that `what` describes.
fn take_away(what: &str) {
    let null = fs::File::open("/dev/null").expect("/dev/null");
    let mut taken = 0;
    for entry in fs::read_dir("/proc/self/fd")
        .expect("our descriptors")
        .flatten()
    {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_string_lossy().parse();
        if let (Ok(number), true) = (number, target.as_os_str() == what) {
            #[expect(unsafe_code, reason = "a descriptor that is somebody else's")]
            // SAFETY: the number stays what it is, the owner's to close; only what it refers to changes.
            let mut place = unsafe { OwnedFd::from_raw_fd(number) };
            nix::unistd::dup2(&null, &mut place).expect("dup2");
            let _owned_elsewhere = place.into_raw_fd();
            taken += 1;
        }
    }
    eprintln!("took away {taken} of {what}");
}

/// The daemon, in the foreground.
fn serve(place: &Path, engine: Engine) -> ! {
    let config = Config {
        transport: TransportChoice::Only(TransportKind::Shm),
        engine,
        queue_depth: 4,
        ..Config::plain(place.join("lower"), place.join("mnt"))
    };
    log::start(log::Target::Stderr, Level::Info, shmfuse::log::Format::Text);
    let make = |config: &Config, backing: Arc<dyn Backing>| {
        Ok(Arc::new(Saboteur(Passthrough::new(config, backing)?)) as Arc<dyn FileSystem>)
    };
    let outcome = run_with(config, Announce::Log, make);
    if let Err(error) = &outcome {
        eprintln!("shmfuse: {error}");
    }
    process::exit(i32::from(outcome.is_err()));
}

/// A mount in use whose daemon is this test, started once more.
fn start(variant: Variant) -> Trial {
    if let Some(place) = env::var_os(PLACE).map(PathBuf::from) {
        let engine = match variant {
            Variant::SHM_KERNEL_COPY => Engine::Kernel,
            _ => Engine::Worker,
        };
        serve(&place, engine);
    }
    let place = temp_dir(LowerFs::Disk).keep();
    let mut daemon = Command::new(env::current_exe().expect("this program"));
    let test = std::thread::current();
    daemon
        .args(["--exact", test.name().expect("a test has a name")])
        .args(["--ignored", "--nocapture"])
        .env(PLACE, &place);
    let builder = TestMount::builder(variant)
        .lower(&place.join("lower"))
        .mountpoint(&place.join("mnt"))
        .daemon(daemon);
    Trial::start(builder)
}

/// Does the fault, whatever comes of the request itself, and ends the trial.
fn outcome_of(trial: Trial, fault: &str) -> Outcome {
    let place = trial.mount.path().parent().expect("the place").to_owned();
    let directory = trial.mount.path().join(fault);
    let _ = match fault {
        PANIC => std::os::unix::fs::symlink(fault, directory),
        _ => fs::create_dir(directory),
    };
    let outcome = trial.aftermath();
    outcome.print(fault);
    fs::remove_dir_all(place).expect("the place is removed");
    outcome
}

fn a_mount_goes_on_without_its_programs(variant: Variant) {
    let outcome = outcome_of(start(variant), PROGRAMS);
    outcome.assert_no_crash();
    assert!(outcome.goes_on() && outcome.fates.lost == 0, "{outcome:?}");
}

fn a_mount_without_its_rings_ends(variant: Variant) {
    let outcome = outcome_of(start(variant), RINGS);
    outcome.assert_no_crash();
    assert!(!outcome.goes_on(), "{outcome:?}");
}

fn a_mount_without_its_device_ends(variant: Variant) {
    let outcome = outcome_of(start(variant), DEVICE);
    outcome.assert_no_crash();
    assert!(!outcome.goes_on(), "{outcome:?}");
}

fn a_mount_whose_thread_panics_ends(variant: Variant) {
    let outcome = outcome_of(start(variant), PANIC);
    assert!(outcome.status.code().is_some(), "{outcome:?}");
    assert!(!outcome.goes_on(), "{outcome:?}");
}

with_each_engine!([
    a_mount_goes_on_without_its_programs,
    a_mount_without_its_rings_ends,
    a_mount_without_its_device_ends,
    a_mount_whose_thread_panics_ends,
]);
