//! The ring transports against the kernel: a tiny file system of its own shows what a transport does,
//! whatever the pass-through does. Root and Linux 6.14 only:
//! `cargo test --test uring_root -- --ignored --test-threads=1`.

#[path = "uring_root/child.rs"]
mod child;
#[path = "uring_root/fs.rs"]
mod fs;
#[path = "uring_root/mount.rs"]
mod mount;

use child::{actor, lock};
use mount::{Mounted, Options, serve_at};
use nix::mount::MntFlags;
use shmfuse::config::TransportKind;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

/// Makes each of these a test of each ring transport.
macro_rules! of_each_ring {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test]
            #[ignore = "root"]
            fn $name() { super::$name(shmfuse::config::TransportKind::Uring) })+
        }
        mod shm {
            $(#[test]
            #[ignore = "root"]
            fn $name() { super::$name(shmfuse::config::TransportKind::Shm) })+
        }
    };
}

of_each_ring! {
    payloads_of_every_size_go_both_ways_unchanged,
    cached_files_are_read_ahead_and_written_back,
    errors_and_panics_of_the_file_system_reach_the_caller_and_nobody_else,
    sixty_four_processes_share_four_entries_per_queue,
    more_waiters_for_a_lock_than_entries_all_get_it,
    an_unlock_behind_waiters_that_took_every_entry_is_served,
    a_signal_ends_the_wait_for_a_lock,
    an_abort_under_load_ends_everybody,
    a_stop_of_the_session_under_load_ends_the_threads,
    a_lazy_umount_under_load_lets_the_processes_go_on,
    a_killed_daemon_leaves_nobody_in_d_state,
    mounting_again_and_again_leaves_nothing_behind,
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("open")
}

/// What a process serves until it is killed.
fn serve_forever(mountpoint: &Path, kind: TransportKind) {
    let options = Options::of(kind);
    let fs = Arc::new(fs::TestFs::new(options.delay));
    let server = serve_at(mountpoint, fs, options).expect("the mount is served");
    server.wait().expect("a clean end");
}

#[test]
#[ignore = "root"] // the other tests start it as a process of its own
fn plays_the_role_it_was_given() {
    child::play();
}

fn payloads_of_every_size_go_both_ways_unchanged(kind: TransportKind) {
    let mounted = Mounted::new(Options::of(kind));
    let file = open(&mounted.at.path("d0"));
    let sizes = [
        1,
        2,
        511,
        4095,
        4096,
        4097,
        8192,
        65_535,
        131_073,
        (1 << 20) - 1,
        1 << 20,
        3 << 20,
    ];
    for (seed, size) in sizes.into_iter().enumerate() {
        let data: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251 + seed) as u8).collect();
        file.set_len(0).unwrap();
        file.write_all_at(&data, seed as u64).unwrap();
        assert_eq!(file.metadata().unwrap().len(), (seed + size) as u64);
        let mut back = vec![0; size];
        file.read_exact_at(&mut back, seed as u64).unwrap();
        assert!(back == data, "{size} bytes");
        assert_eq!(
            file.read_at(&mut back, (seed + size) as u64).unwrap(),
            0,
            "end of file"
        );
    }
    drop(file);
    mounted.finish();
}

fn cached_files_are_read_ahead_and_written_back(kind: TransportKind) {
    let mounted = Mounted::new(Options::of(kind));
    let data: Vec<u8> = (0..8 << 20).map(|i: u32| (i ^ (i >> 9)) as u8).collect();
    std::fs::write(mounted.at.path("c1"), &data).unwrap();
    let file = open(&mounted.at.path("c1"));
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    drop(file);
    assert!(std::fs::read(mounted.at.path("c1")).unwrap() == data);
    mounted.finish();
}

fn errors_and_panics_of_the_file_system_reach_the_caller_and_nobody_else(kind: TransportKind) {
    let mounted = Mounted::new(Options::of(kind));
    let errno = |name: &str| mounted.at.path(name).metadata().unwrap_err().raw_os_error();
    for _ in 0..20 {
        assert_eq!(errno("nothing"), Some(libc::ENOENT));
        assert_eq!(errno("panic"), Some(libc::EIO));
        assert!(mounted.at.path("d5").metadata().is_ok());
    }
    mounted.finish();
}

fn sixty_four_processes_share_four_entries_per_queue(kind: TransportKind) {
    let mounted = Mounted::new(Options::of(kind));
    let mount = mounted.at.path("");
    let actors: Vec<_> = (0..64).map(|n| actor("mix", &mount, n)).collect();
    for actor in actors {
        actor.succeeded();
    }
    mounted.finish();
}

fn more_waiters_for_a_lock_than_entries_all_get_it(kind: TransportKind) {
    let mounted = Mounted::new(Options {
        depth: 1,
        ..Options::of(kind)
    });
    let path = mounted.at.path("d9");
    let holder = open(&path);
    lock(&holder, libc::F_WRLCK).unwrap();
    let actors: Vec<_> = (0..40).map(|_| actor("count", &path, 5)).collect();
    while mounted.fs.waited.load(Ordering::Relaxed) < 40 {
        thread::sleep(Duration::from_millis(10));
    }
    // Every entry there was at the start is taken by a waiter; these requests need others.
    assert!(mounted.at.path("c3").metadata().is_ok());
    lock(&holder, libc::F_UNLCK).unwrap();
    for actor in actors {
        actor.succeeded();
    }
    let mut number = [0; 8];
    holder.read_exact_at(&mut number, 0).unwrap();
    assert_eq!(u64::from_le_bytes(number), 40 * 5);
    drop(holder);
    mounted.finish();
}

fn an_unlock_behind_waiters_that_took_every_entry_is_served(kind: TransportKind) {
    let mounted = Mounted::new(Options {
        depth: 2,
        ..Options::of(kind)
    });
    let path = mounted.at.path("d9");
    child::pin_to_cpu_0();
    let holder = open(&path);
    lock(&holder, libc::F_WRLCK).unwrap();
    let slow = open(&mounted.at.path(fs::SLOW));
    let mut actors: Vec<_> = (0..9).map(|_| actor("lock", &path, 0)).collect();
    while mounted.fs.opened.load(Ordering::Relaxed) < 2 + 9 {
        thread::sleep(Duration::from_millis(10));
    }
    // While the worker of queue 0 sleeps in one entry, one waiter takes the other, and the rest
    // line up in the kernel, the unlock last. None of them is seen before its predecessor's commit.
    thread::scope(|scope| {
        scope.spawn(|| slow.read_at(&mut [0; 16], 0).unwrap());
        thread::sleep(Duration::from_millis(100));
        actors.iter_mut().for_each(child::Actor::go);
        thread::sleep(Duration::from_millis(200));
        lock(&holder, libc::F_UNLCK).unwrap();
    });
    for actor in actors {
        actor.succeeded();
    }
    drop((holder, slow));
    mounted.finish();
}

fn a_signal_ends_the_wait_for_a_lock(kind: TransportKind) {
    let mounted = Mounted::new(Options::of(kind));
    let path = mounted.at.path("d9");
    let holder = open(&path);
    lock(&holder, libc::F_WRLCK).unwrap();
    let waiters: Vec<_> = (0..6).map(|_| actor("count", &path, 1)).collect();
    while mounted.fs.waited.load(Ordering::Relaxed) < 6 {
        thread::sleep(Duration::from_millis(10));
    }
    for waiter in waiters {
        waiter.dies();
    }
    lock(&holder, libc::F_UNLCK).unwrap();
    actor("count", &path, 1).succeeded();
    drop(holder);
    mounted.finish();
}

/// Takes a mount down by `end` while processes use it; everybody must end.
fn ends_under_load(kind: TransportKind, end: impl FnOnce(&Mounted)) {
    let mounted = Mounted::new(Options {
        delay: Duration::from_micros(100),
        ..Options::of(kind)
    });
    let mount = mounted.at.path("");
    let actors: Vec<_> = (0..16).map(|n| actor("hammer", &mount, n)).collect();
    thread::sleep(Duration::from_millis(500));
    end(&mounted);
    drop(mounted.wait());
    for actor in actors {
        actor.ends();
    }
}

fn an_abort_under_load_ends_everybody(kind: TransportKind) {
    ends_under_load(kind, |mounted| {
        mounted
            .at
            .unmount(MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)
    });
}

fn a_stop_of_the_session_under_load_ends_the_threads(kind: TransportKind) {
    ends_under_load(kind, |mounted| mounted.session.stop());
}

fn a_lazy_umount_under_load_lets_the_processes_go_on(kind: TransportKind) {
    let mounted = Mounted::new(Options::of(kind));
    let mount = mounted.at.path("");
    let mut actors: Vec<_> = (0..8).map(|n| actor("hammer", &mount, n)).collect();
    thread::sleep(Duration::from_millis(300));
    mounted.at.unmount(MntFlags::MNT_DETACH);
    for actor in &mut actors {
        actor.kill();
    }
    for actor in actors {
        actor.ends();
    }
    mounted
        .wait()
        .expect("the connection ends with its last user");
}

fn a_killed_daemon_leaves_nobody_in_d_state(kind: TransportKind) {
    for round in 0..5 {
        let dir = mount::Mountpoint::new();
        let mut daemon = actor("daemon", &dir.path(""), kind as usize);
        dir.wait_until_served();
        let mount = dir.path("");
        let actors: Vec<_> = (0..16).map(|n| actor("hammer", &mount, n)).collect();
        thread::sleep(Duration::from_millis(300 + round * 37));
        daemon.kill();
        assert!(daemon.ended().is_some());
        for actor in actors {
            actor.ends();
        }
        dir.unmount(MntFlags::empty());
    }
}

fn mounting_again_and_again_leaves_nothing_behind(kind: TransportKind) {
    let round = || {
        let mounted = Mounted::new(Options::of(kind));
        let file = open(&mounted.at.path("d1"));
        file.write_all_at(&[1; 8192], 0).unwrap();
        drop(file);
        mounted.finish();
    };
    // What is made once, such as the thread that repeats interruptions, is made here.
    round();
    let before = held();
    // Loading the kernel programs takes its time in a build that is not optimised.
    let rounds = if kind == TransportKind::Shm { 5 } else { 20 };
    for _ in 0..rounds {
        round();
    }
    // The kernel frees a closed ring, and the watchdogs end, a moment later.
    let no_more = || {
        held()
            .iter()
            .zip(before)
            .all(|(now, before)| *now <= before)
    };
    for _ in 0..500 {
        if no_more() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?} where {before:?} were held before", held());
}

/// Descriptors, threads, and mappings of this process.
fn held() -> [usize; 3] {
    let entries = |path: &str| std::fs::read_dir(path).expect("procfs").count();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    [
        entries("/proc/self/fd"),
        entries("/proc/self/task"),
        maps.lines().count(),
    ]
}
