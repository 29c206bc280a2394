//! Signals in every call that waits: a table of calls, each interrupted all the time while the lower file system
//! is slow, and each killed while the daemon stands still.

use crate::common::{TestMount, Transport, Variant, child::Forked, wait_until};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl, open},
    libc,
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction},
        stat::Mode,
        statvfs::statvfs,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::mkfifo,
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    path::Path,
    thread,
    time::Duration,
};

type Call = fn(&Path) -> io::Result<()>;

/// Calls that end when the daemon has served them, in a directory that has `file` and `dir`, and `to` of each call's
/// own: what it makes is called so.
const SERVED: &[(&str, Call)] = &[
    ("stat", |at| fs::metadata(at.join("file")).map(drop)),
    ("read", |at| fs::read(at.join("file")).map(drop)),
    ("readdir", |at| {
        fs::read_dir(at.join("dir")).map(Iterator::count).map(drop)
    }),
    ("write, fsync", |at| {
        let mut file = File::create(at.join("written"))?;
        file.write_all(&[1; 100_000])?;
        file.sync_all()
    }),
    ("pread, pwrite, fdatasync", |at| {
        let file = File::options()
            .read(true)
            .write(true)
            .open(at.join("file"))?;
        file.read_at(&mut [0; 100], 3)?;
        file.write_at(b"text", 0)?;
        file.sync_data()
    }),
    ("mkdir, rmdir", |at| {
        fs::create_dir(at.join("made"))?;
        fs::remove_dir(at.join("made"))
    }),
    ("create, link, rename, unlink", |at| {
        File::create(at.join("a"))?;
        fs::hard_link(at.join("a"), at.join("b"))?;
        fs::rename(at.join("b"), at.join("c"))?;
        fs::remove_file(at.join("a"))?;
        fs::remove_file(at.join("c"))
    }),
    ("symlink, readlink", |at| {
        symlink("x", at.join("symlink"))?;
        fs::read_link(at.join("symlink")).map(drop)
    }),
    ("truncate, chmod", |at| {
        let file = File::create(at.join("shortened"))?;
        file.set_len(10_000)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))
    }),
    ("statvfs", |at| {
        statvfs(at).map(drop).map_err(io::Error::from)
    }),
    ("copy_file_range", |at| {
        fs::copy(at.join("file"), at.join("copied")).map(drop)
    }),
    ("flock, unlock", |at| {
        let file = File::open(at.join("file"))?;
        file.lock_shared()?;
        file.unlock()
    }),
];

/// Calls that end when somebody else does something, who does not.
const ENDLESS: &[(&str, Call)] = &[
    ("open of a FIFO", |at| {
        open(&at.join("fifo"), OFlag::O_RDONLY, Mode::empty())?;
        Ok(())
    }),
    ("read of a FIFO", |at| {
        let fifo = File::options()
            .read(true)
            .write(true)
            .open(at.join("fifo2"))?;
        nix::unistd::read(&fifo, &mut [0])?;
        Ok(())
    }),
    ("flock", |at| {
        let locked = Flock::lock(File::open(at.join("locked"))?, FlockArg::LockShared);
        locked.map(drop).map_err(|(_, errno)| errno.into())
    }),
    ("fcntl, F_SETLKW", |at| {
        let file = File::open(at.join("locked"))?;
        fcntl(&file, FcntlArg::F_SETLKW(&read_lock()))?;
        Ok(())
    }),
    ("fcntl, F_OFD_SETLKW", |at| {
        let file = File::open(at.join("locked"))?;
        fcntl(&file, FcntlArg::F_OFD_SETLKW(&read_lock()))?;
        Ok(())
    }),
];

fn lock(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn read_lock() -> libc::flock {
    lock(libc::F_RDLCK)
}

extern "C" fn ignore(_: libc::c_int) {}

#[expect(unsafe_code, reason = "sigaction(2)")]
fn heed_without_restarting(signal: Signal) {
    let action = SigAction::new(
        SigHandler::Handler(ignore),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, &action) }.expect("a handler");
}

/// What each call needs. The locks that are in the way are held by the files that are returned.
fn prepare(mount: &TestMount) -> (Flock<File>, [File; 2]) {
    for (name, _) in SERVED.iter().chain(ENDLESS) {
        let at = mount.lower().join(name);
        fs::create_dir_all(at.join("dir")).unwrap();
        fs::write(at.join("file"), [7; 100_000]).unwrap();
        fs::write(at.join("locked"), "").unwrap();
        for fifo in ["fifo", "fifo2"] {
            mkfifo(&at.join(fifo), Mode::S_IRWXU).unwrap();
        }
    }
    let locked = |name: &str| {
        let path = mount.lower().join(name).join("locked");
        File::options().read(true).write(true).open(path).unwrap()
    };
    let flock = Flock::lock(locked("flock"), FlockArg::LockExclusive).unwrap();
    let files = ["fcntl, F_SETLKW", "fcntl, F_OFD_SETLKW"].map(locked);
    for file in &files {
        fcntl(file, FcntlArg::F_SETLK(&lock(libc::F_WRLCK))).unwrap();
    }
    (flock, files)
}

/// Each in a process of its own, with the name of the call.
fn start(mount: &TestMount) -> Vec<(&'static str, Forked)> {
    let calls = SERVED.iter().map(|call| (call, true));
    calls
        .chain(ENDLESS.iter().map(|call| (call, false)))
        .map(|(&(name, call), ends)| {
            let at = mount.path().join(name);
            let process = Forked::start(move || {
                let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
                let outcome = call(&at).map_err(errno);
                let expected = outcome == Err(Errno::EINTR) || (ends && outcome.is_ok());
                assert!(expected, "{name}: {outcome:?}");
            });
            (name, process)
        })
        .collect()
}

fn each_call_that_is_interrupted_ends(variant: Variant) {
    let mount = TestMount::builder(variant)
        .args(&["--lower-delay", "20ms"])
        .mount();
    let locks = prepare(&mount);
    heed_without_restarting(Signal::SIGUSR1);
    for (name, process) in start(&mount) {
        // A signal may come before the call, or between two.
        let mut end = WaitStatus::StillAlive;
        wait_until(&format!("{name} has ended"), || {
            end = waitpid(process.pid(), Some(WaitPidFlag::WNOHANG)).expect("its status");
            if end == WaitStatus::StillAlive {
                kill(process.pid(), Signal::SIGUSR1).expect("a signal");
            }
            end != WaitStatus::StillAlive
        });
        assert_eq!(end, WaitStatus::Exited(process.pid(), 0), "{name}");
    }
    drop(locks);
    mount.finish();
}

/// What lies in `/dev/fuse` unread is taken back. What a ring entry has been found for is not, whether the daemon
/// has seen it or not (`fuse_uring_queue_fuse_req`, fs/fuse/dev_uring.c; `request_wait_answer`, fs/fuse/dev.c):
/// who waits for that goes when the daemon does, or goes on.
fn whoever_is_killed_while_the_daemon_stands_still_goes(variant: Variant) {
    let mut mount = TestMount::builder(variant).mount();
    let locks = prepare(&mount);
    mount.the_daemon().stop();
    let processes = start(&mount);
    thread::sleep(Duration::from_millis(100));
    for (_, process) in &processes {
        kill(process.pid(), Signal::SIGKILL).expect("a signal");
    }
    if !unread_is_taken_back(variant) {
        mount.the_daemon().signal(Signal::SIGCONT);
    }
    for (name, process) in processes {
        wait_until(&format!("{name} has gone"), || {
            let end = waitpid(process.pid(), Some(WaitPidFlag::WNOHANG)).expect("its status");
            end != WaitStatus::StillAlive
        });
    }
    mount.the_daemon().signal(Signal::SIGCONT);
    let text = fs::read(mount.path().join("stat/file")).unwrap();
    assert_eq!(text, [7; 100_000]);
    drop(locks);
    mount.finish();
}

fn unread_is_taken_back(variant: Variant) -> bool {
    matches!(
        variant,
        Variant::Daemon {
            transport: Transport::Classic | Transport::Splice,
            ..
        }
    )
}

for_every_transport!(
    on_variant,
    [
        each_call_that_is_interrupted_ends,
        whoever_is_killed_while_the_daemon_stands_still_goes,
    ]
);
