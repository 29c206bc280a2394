//! Locks of fcntl(2) and flock(2): between processes of one mount, and between them and processes
//! that work on the lower directory. Each test holds on a bind mount, too.

#[macro_use]
mod common;

#[path = "locks_root/unheard.rs"]
mod unheard;

use common::{LowerFs, TestMount, Variant, child::Forked, stat, wait_until};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, Flock, FlockArg, fcntl},
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction},
    unistd::Pid,
};
use std::{
    fs::{File, OpenOptions},
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true);
    options.truncate(false).open(path).unwrap()
}

fn lock(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

fn set(file: &File, kind: i32, start: i64, len: i64) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETLK(&lock(kind, start, len))).map(drop)
}

fn set_waiting(file: &File, kind: i32, start: i64, len: i64) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETLKW(&lock(kind, start, len))).map(drop)
}

/// Kind, start, length and process of what is in the way.
fn test(file: &File, kind: i32, start: i64, len: i64) -> (i32, i64, i64, i32) {
    let mut found = lock(kind, start, len);
    fcntl(file, FcntlArg::F_GETLK(&mut found)).unwrap();
    (found.l_type.into(), found.l_start, found.l_len, found.l_pid)
}

/// Lets two processes wait for each other.
struct Meeting {
    read: PipeReader,
    write: PipeWriter,
}

impl Meeting {
    fn new() -> Self {
        let (read, write) = pipe().unwrap();
        Self { read, write }
    }

    fn arrive(&self) {
        (&self.write).write_all(b"x").unwrap();
    }

    fn await_other(&self) {
        (&self.read).read_exact(&mut [0]).unwrap();
    }
}

/// Runs `holder` in another process up to its first call of the function it is given, then
/// `meanwhile` here, then the rest of `holder`.
fn while_held(holder: impl FnOnce(&dyn Fn()), meanwhile: impl FnOnce(Pid)) {
    let (held, over) = (Meeting::new(), Meeting::new());
    let child = Forked::start(|| {
        holder(&|| {
            held.arrive();
            over.await_other();
        });
    });
    held.await_other();
    meanwhile(child.pid());
    over.arrive();
    child.join();
}

fn one_process_excludes_another(mount: &TestMount) {
    let path = mount.path().join("file");
    open(&path);
    while_held(
        |pause| {
            let file = open(&path);
            set(&file, libc::F_WRLCK, 10, 10).unwrap();
            set(&file, libc::F_RDLCK, 30, 0).unwrap();
            pause();
        },
        |holder| {
            let file = open(&path);
            assert_eq!(set(&file, libc::F_RDLCK, 0, 11), Err(Errno::EAGAIN));
            assert_eq!(set(&file, libc::F_WRLCK, 100, 1), Err(Errno::EAGAIN));
            set(&file, libc::F_WRLCK, 0, 10).unwrap();
            set(&file, libc::F_RDLCK, 50, 10).unwrap();
            let found = test(&file, libc::F_RDLCK, 0, 0);
            assert_eq!(found, (libc::F_WRLCK, 10, 10, holder.as_raw()));
            let found = test(&file, libc::F_WRLCK, 40, 1);
            assert_eq!(found, (libc::F_RDLCK, 30, 0, holder.as_raw()));
            assert_eq!(test(&file, libc::F_WRLCK, 20, 10).0, libc::F_UNLCK);
        },
    );
}

fn a_lock_on_the_mount_is_one_on_the_lower_file_and_the_other_way_round(mount: &TestMount) {
    let (above, below) = (mount.path().join("file"), mount.lower().join("file"));
    open(&above);
    for (ours, theirs) in [(&above, &below), (&below, &above)] {
        while_held(
            |pause| {
                let file = open(theirs);
                set(&file, libc::F_WRLCK, 0, 5).unwrap();
                let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
                pause();
                drop(file);
            },
            |_| {
                let file = open(ours);
                assert_eq!(set(&file, libc::F_RDLCK, 0, 1), Err(Errno::EAGAIN));
                assert_eq!(test(&file, libc::F_RDLCK, 2, 9).0, libc::F_WRLCK);
                set(&file, libc::F_WRLCK, 5, 1).unwrap();
                let (_, errno) = Flock::lock(file, FlockArg::LockSharedNonblock).unwrap_err();
                assert_eq!(errno, Errno::EAGAIN);
            },
        );
    }
}

fn closing_any_descriptor_gives_up_the_process_its_locks(mount: &TestMount) {
    let path = mount.path().join("file");
    open(&path);
    while_held(
        |pause| {
            let file = open(&path);
            set(&file, libc::F_WRLCK, 0, 0).unwrap();
            drop(open(&path));
            pause();
            drop(file);
        },
        |_| {
            let file = open(&path);
            wait_until("the lock is given up", || {
                set(&file, libc::F_WRLCK, 0, 0).is_ok()
            });
        },
    );
}

fn the_end_of_a_process_gives_up_its_locks(mount: &TestMount) {
    let path = mount.path().join("file");
    open(&path);
    for how in [Signal::SIGKILL, Signal::SIGTERM] {
        let held = Meeting::new();
        let child = Forked::start(|| {
            let file = open(&path);
            set(&file, libc::F_WRLCK, 0, 0).unwrap();
            held.arrive();
            nix::unistd::pause();
        });
        held.await_other();
        let file = open(&path);
        assert_eq!(set(&file, libc::F_RDLCK, 0, 0), Err(Errno::EAGAIN));
        kill(child.pid(), how).unwrap();
        nix::sys::wait::waitpid(child.pid(), None).unwrap();
        wait_until("the lock is given up", || {
            set(&file, libc::F_WRLCK, 0, 0).is_ok()
        });
    }
}

fn who_waits_gets_the_lock_in_the_end(mount: &TestMount) {
    let path = mount.path().join("file");
    let file = open(&path);
    set(&file, libc::F_WRLCK, 0, 0).unwrap();
    let began = Meeting::new();
    let child = Forked::start(|| {
        let file = open(&path);
        began.arrive();
        set_waiting(&file, libc::F_WRLCK, 0, 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"released");
    });
    began.await_other();
    wait_until("the other waits", || is_asleep(child.pid()));
    file.write_all_at(b"released", 0).unwrap();
    set(&file, libc::F_UNLCK, 0, 0).unwrap();
    child.join();
}

/// Whether the process waits in a system call.
fn is_asleep(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let syscall = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let waits = [libc::SYS_fcntl, libc::SYS_flock].map(|number| number.to_string());
    stat.contains(") S ")
        && waits
            .iter()
            .any(|number| syscall.split(' ').next() == Some(number))
}

extern "C" fn ignore(_: libc::c_int) {}

fn a_signal_ends_a_wait(mount: &TestMount) {
    let path = mount.path().join("file");
    let file = open(&path);
    set(&file, libc::F_WRLCK, 0, 0).unwrap();
    let also = Flock::lock(open(&path), FlockArg::LockExclusive).unwrap();
    let waits: [fn(&Path) -> Errno; 2] = [
        |path| set_waiting(&open(path), libc::F_RDLCK, 0, 0).unwrap_err(),
        |path| Flock::lock(open(path), FlockArg::LockShared).unwrap_err().1,
    ];
    for wait in waits {
        let child = Forked::start(|| {
            install(Signal::SIGUSR1);
            assert_eq!(wait(&path), Errno::EINTR);
        });
        wait_until("the other waits", || is_asleep(child.pid()));
        kill(child.pid(), Signal::SIGUSR1).unwrap();
        child.join();

        let child = Forked::start(|| {
            wait(&path);
        });
        wait_until("the other waits", || is_asleep(child.pid()));
        kill(child.pid(), Signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(child.pid(), None).unwrap();
    }
    drop((file, also));
}

/// A handler after which system calls are not started again.
#[expect(unsafe_code, reason = "signal handlers are installed by unsafe calls")]
fn install(which: Signal) {
    // Without SA_RESTART the interrupted call is not made again.
    let action = SigAction::new(
        SigHandler::Handler(ignore),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing, so it may run anywhere.
    unsafe {
        sigaction(which, &action).unwrap();
    }
}

/// One of the two, whichever is known to wait later; the other gets its lock then.
fn two_processes_that_wait_for_each_other_are_told(mount: &TestMount) {
    let path = mount.path().join("file");
    let file = open(&path);
    set(&file, libc::F_WRLCK, 0, 1).unwrap();
    let held = Meeting::new();
    let (mut other, told) = pipe().unwrap();
    let child = Forked::start(|| {
        let file = open(&path);
        set(&file, libc::F_WRLCK, 1, 1).unwrap();
        held.arrive();
        let refused = match set_waiting(&file, libc::F_WRLCK, 0, 1) {
            Ok(()) => false,
            Err(Errno::EDEADLK) => true,
            Err(errno) => panic!("{errno}"),
        };
        (&told).write_all(&[refused.into()]).unwrap();
    });
    held.await_other();
    wait_until("the other waits", || is_asleep(child.pid()));
    let mine = set_waiting(&file, libc::F_WRLCK, 1, 1);
    set(&file, libc::F_UNLCK, 0, 1).unwrap();
    let mut other_refused = [0];
    other.read_exact(&mut other_refused).unwrap();
    child.join();
    let expected = match other_refused {
        [0] => Err(Errno::EDEADLK),
        _ => Ok(()),
    };
    assert_eq!(mine, expected);
}

fn locks_of_an_open_file_go_with_it(mount: &TestMount) {
    let path = mount.path().join("file");
    let (first, second) = (open(&path), open(&path));
    let take = |file: &File, kind| fcntl(file, FcntlArg::F_OFD_SETLK(&lock(kind, 0, 0))).map(drop);
    take(&first, libc::F_WRLCK).unwrap();
    assert_eq!(take(&second, libc::F_RDLCK), Err(Errno::EAGAIN));
    // Another descriptor of the same file keeps them.
    let duplicate = first.try_clone().unwrap();
    drop(first);
    assert_eq!(take(&second, libc::F_RDLCK), Err(Errno::EAGAIN));
    drop(duplicate);
    wait_until("the locks are gone", || {
        take(&second, libc::F_WRLCK).is_ok()
    });
}

fn a_lock_of_flock_is_shared_with_children_and_kept_by_them(mount: &TestMount) {
    let path = mount.path().join("file");
    open(&path);
    let (held, over) = (Meeting::new(), Meeting::new());
    let parent = Forked::start(|| {
        let file = Flock::lock(open(&path), FlockArg::LockExclusive).unwrap();
        let child = Forked::start(|| {
            held.arrive();
            over.await_other();
        });
        // This process ends first, without unlocking.
        std::mem::forget((file, child));
    });
    held.await_other();
    parent.join();
    let refused = Flock::lock(open(&path), FlockArg::LockSharedNonblock);
    assert_eq!(refused.unwrap_err().1, Errno::EAGAIN);
    over.arrive();
    wait_until("the lock is given up", || {
        Flock::lock(open(&path), FlockArg::LockSharedNonblock).is_ok()
    });
}

/// Eight processes add to a counter in a file, a thousand times together, reading and writing it
/// under a lock.
fn a_counter_under_a_lock_loses_nothing(mount: &TestMount) {
    let path = mount.path().join("file");
    open(&path).write_all_at(&0_u64.to_ne_bytes(), 0).unwrap();
    let flocks: [bool; 2] = [false, true];
    for by_flock in flocks {
        let children: Vec<_> = (0..8)
            .map(|_| {
                Forked::start(|| {
                    for _ in 0..125 {
                        let file = open(&path);
                        let locked = if by_flock {
                            Ok(Flock::lock(file, FlockArg::LockExclusive).unwrap())
                        } else {
                            set_waiting(&file, libc::F_WRLCK, 0, 8).unwrap();
                            Err(file)
                        };
                        let file = match &locked {
                            Ok(file) => file,
                            Err(file) => file,
                        };
                        let mut bytes = [0; 8];
                        file.read_exact_at(&mut bytes, 0).unwrap();
                        let next = u64::from_ne_bytes(bytes) + 1;
                        file.write_all_at(&next.to_ne_bytes(), 0).unwrap();
                    }
                })
            })
            .collect();
        children.into_iter().for_each(Forked::join);
    }
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(u64::from_ne_bytes(bytes.try_into().unwrap()), 2000);
}

/// The shell's own tool, so that not all is seen through this file's eyes.
fn flock_of_util_linux_works(mount: &TestMount) {
    let status = Command::new("bash")
        .current_dir(mount.path())
        .args([
            "-ec",
            "exec 9>lock; flock 9; ! flock -n lock true; flock -u 9; flock -n lock true",
        ])
        .status()
        .unwrap();
    assert!(status.success());
}

for_every_variant!(
    on_mount,
    [
        one_process_excludes_another,
        closing_any_descriptor_gives_up_the_process_its_locks,
        the_end_of_a_process_gives_up_its_locks,
        who_waits_gets_the_lock_in_the_end,
        a_signal_ends_a_wait,
        two_processes_that_wait_for_each_other_are_told,
        locks_of_an_open_file_go_with_it,
        a_lock_of_flock_is_shared_with_children_and_kept_by_them,
        a_counter_under_a_lock_loses_nothing,
        flock_of_util_linux_works,
    ]
);

/// Not so without OPEN: nobody would tell the daemon when to give the lower file's lock up.
mod lower {
    use super::a_lock_on_the_mount_is_one_on_the_lower_file_and_the_other_way_round;
    variant_tests!(
        native,
        Variant::Native,
        on_mount,
        [a_lock_on_the_mount_is_one_on_the_lower_file_and_the_other_way_round]
    );
    for_every_daemon_variant!(
        on_mount,
        [a_lock_on_the_mount_is_one_on_the_lower_file_and_the_other_way_round]
    );
}

/// `--locks mount`: locks of fcntl(2) are the kernel's, and closing a file that it reads and writes past the
/// daemon asks for nothing.
fn the_mounts_own_locks_need_nobody_to_be_told_of_a_close(variant: Variant) {
    let mount = TestMount::builder(variant)
        .lower_fs(LowerFs::Memory)
        .args(&["--locks", "mount"])
        .mount();
    one_process_excludes_another(&mount);
    closing_any_descriptor_gives_up_the_process_its_locks(&mount);
    the_end_of_a_process_gives_up_its_locks(&mount);
    locks_of_an_open_file_go_with_it(&mount);
    a_lock_of_flock_is_shared_with_children_and_kept_by_them(&mount);
    while_held(
        |pause| {
            let file = open(&mount.lower().join("file"));
            set(&file, libc::F_WRLCK, 0, 5).unwrap();
            pause();
            drop(file);
        },
        |_| set(&open(&mount.path().join("file")), libc::F_WRLCK, 0, 5).unwrap(),
    );
    let stat = stat(mount.path());
    let flushed = stat["ops"]["FLUSH"]["arrivals"].as_u64().unwrap_or(0);
    assert_eq!(flushed == 0, variant.is_passthrough(), "{flushed}");
    mount.finish();
}

variant_tests!(
    kept_by_the_mount,
    Variant::SHM_PASSTHROUGH,
    on_variant,
    [the_mounts_own_locks_need_nobody_to_be_told_of_a_close]
);
variant_tests!(
    kept_by_the_mount_copied,
    Variant::SHM_COPY,
    on_variant,
    [the_mounts_own_locks_need_nobody_to_be_told_of_a_close]
);
