//! Two tasks whose numbers fall on the same place of the array that holds what each is changing: what a system
//! call of either has begun ends with that call, not with the other's.

use super::counted::{Counted, mounted};
use crate::common::{TestMount, Variant, bash, wait_until};
use nix::{
    fcntl::AT_FDCWD,
    sys::fanotify::{
        EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
        Response,
    },
    sys::stat::fstat,
    unistd::gettid,
};
use std::{
    fs::File,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::mpsc::channel,
    thread::{self, ScopedJoinHandle},
};
use transport::place::PLACES;

/// Questions asked at a time.
const QUESTIONS: u64 = 40;

/// Holds whoever opens a file in these directories. Dropped, it lets all go.
struct Gate(Fanotify);

impl Gate {
    fn of(directories: &[PathBuf]) -> Self {
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC;
        let group = Fanotify::init(flags, EventFFlags::O_CLOEXEC).expect("a fanotify group");
        let mask = MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_EVENT_ON_CHILD;
        for directory in directories {
            let add = MarkFlags::FAN_MARK_ADD;
            let marked = group.mark(add, mask, AT_FDCWD, Some(directory));
            marked.expect("a mark");
        }
        Self(group)
    }

    /// Waits until somebody stands before it.
    fn next(&self) -> FanotifyEvent {
        let mut events = self.0.read_events().expect("an event");
        assert_eq!(events.len(), 1, "one task opens at a time");
        events.remove(0)
    }

    fn let_go(&self, event: &FanotifyEvent) {
        let fd = event.fd().expect("the file that is opened");
        let answer = FanotifyResponse::new(fd.as_fd(), Response::FAN_ALLOW);
        self.0.write_response(answer).expect("an answer");
    }
}

/// Whether programs answer what is asked about a directory: most of it, for the daemon is asked where somebody
/// changes an inode of the same generation word.
fn is_answered(mount: &TestMount, directory: &File) -> bool {
    let before = Counted::of(mount).answered("GETATTR");
    for _ in 0..QUESTIONS {
        fstat(directory).expect("its attributes");
    }
    Counted::of(mount).answered("GETATTR") - before > QUESTIONS / 2
}

/// Makes a file, which a [`Gate`] holds after the name was made.
fn make(directory: &Path, name: &str) {
    File::create(directory.join(name)).expect("a new file");
}

/// The same in another thread of the same place as `task`.
fn make_beside<'s>(
    scope: &'s thread::Scope<'s, '_>,
    task: u32,
    directory: &'s Path,
    name: &'static str,
) -> ScopedJoinHandle<'s, ()> {
    loop {
        // Numbers are given in turn.
        let (tell, told) = channel();
        let thread = scope.spawn(move || {
            let own = gettid().as_raw() as u32;
            let is_beside = own != task && own % PLACES == task % PLACES;
            tell.send(is_beside).expect("the test goes on");
            if is_beside {
                make(directory, name);
            }
        });
        if told.recv().expect("a thread") {
            return thread;
        }
        thread.join().expect("a thread");
    }
}

fn who_shares_a_place_ends_its_own_changes_alone(variant: Variant) {
    let mount = mounted(TestMount::builder(variant));
    bash(mount.lower(), "mkdir one other");
    let below = ["one", "other"].map(|name| mount.lower().join(name));
    let [one, other] = ["one", "other"].map(|name| File::open(mount.path().join(name)).unwrap());
    let wait_for = |directory| {
        wait_until("a program answers", || is_answered(&mount, directory));
    };
    wait_for(&one);
    wait_for(&other);
    for first_goes_first in [false, true] {
        let name = if first_goes_first { "a" } else { "b" };
        thread::scope(|scope| {
            // Dropped before threads are waited for, also when the test fails.
            let gate = Gate::of(&below);
            let (tell, told) = channel();
            let path = &below[0];
            let first = scope.spawn(move || {
                tell.send(gettid().as_raw() as u32).unwrap();
                make(path, name);
            });
            let first_held = gate.next();
            assert!(!is_answered(&mount, &one), "its change is under way");
            wait_for(&other);
            let second = make_beside(scope, told.recv().unwrap(), &below[1], name);
            let second_held = gate.next();
            assert!(!is_answered(&mount, &one), "the first one's is under way");
            assert!(
                !is_answered(&mount, &other),
                "the second one's is under way"
            );
            if first_goes_first {
                gate.let_go(&first_held);
                first.join().unwrap();
                wait_for(&one);
                assert!(!is_answered(&mount, &other), "the second one's is not over");
                gate.let_go(&second_held);
                second.join().unwrap();
            } else {
                gate.let_go(&second_held);
                second.join().unwrap();
                wait_for(&other);
                assert!(!is_answered(&mount, &one), "the first one's is not over");
                gate.let_go(&first_held);
                first.join().unwrap();
            }
            wait_for(&one);
            wait_for(&other);
        });
    }
    drop((one, other));
    mount.finish();
}

variant_tests!(
    worker,
    Variant::SHM_COPY,
    on_variant,
    [who_shares_a_place_ends_its_own_changes_alone]
);
