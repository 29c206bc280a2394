//! The transports on real mounts, with a file system made for it. Root only:
//! `cargo test --test serve_root -- --ignored`.

mod echo;
mod mount;

use mount::Mount;
use nix::fcntl::{FcntlArg, fcntl};
use shmfuse::{config::TransportKind, fuse::kick::KickHandle};
use std::{
    fs::File,
    io::ErrorKind,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    sync::{atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

const DEV_FUSE: [TransportKind; 2] = [TransportKind::Classic, TransportKind::Splice];
const ALL: [TransportKind; 3] = [
    TransportKind::Classic,
    TransportKind::Splice,
    TransportKind::Uring,
];

/// Lengths at and beside every boundary of pages, powers of two and the largest request.
fn lengths(max: usize) -> Vec<usize> {
    let powers = (0..=20).map(|bit| 1 << bit);
    let pages = (1..6).map(|page| page * 4096);
    let near = powers.chain(pages).chain([max]);
    let mut lengths: Vec<usize> = near
        .flat_map(|len: usize| [len.saturating_sub(1), len, len + 1])
        .chain((0..max).step_by(99_991))
        .filter(|len| *len <= max)
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Bytes that are different at every place and in every call.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at ^ seed).wrapping_mul(0x9E37_79B9) >> 13) as u8)
        .collect()
}

fn open(mount: &Mount, name: &str) -> File {
    File::options()
        .read(true)
        .write(true)
        .open(mount.path().join(name))
        .expect("open")
}

#[test]
#[ignore = "root"]
fn every_length_is_written_and_read_as_it_is() {
    for kind in ALL {
        let mount = Mount::new(kind);
        let max = mount.fs.negotiated().max_write as usize;
        let file = open(&mount, "direct");
        let lower = File::open(mount.lower()).expect("the lower file");
        for (seed, len) in lengths(max).into_iter().enumerate() {
            for offset in [0_u64, 1, 4095] {
                let data = pattern(len, seed);
                let written = file.write_at(&data, offset).expect("write");
                assert_eq!(written, len, "{kind:?} length {len} at {offset}");
                let mut below = vec![0; len];
                lower.read_exact_at(&mut below, offset).expect("as long");
                assert!(below == data, "{kind:?} wrote {len} at {offset}");
                let mut back = vec![0; len];
                let read = file.read_at(&mut back, offset).expect("read");
                assert_eq!(read, len, "{kind:?} length {len} at {offset}");
                assert!(back == data, "{kind:?} read {len} at {offset}");
            }
        }
    }
}

#[test]
#[ignore = "root"]
fn a_read_at_the_end_of_the_file_is_short_and_behind_it_empty() {
    for kind in ALL {
        let mount = Mount::new(kind);
        let data = pattern(150_001, 7);
        std::fs::write(mount.lower(), &data).expect("the lower file");
        let file = open(&mount, "direct");
        let mut back = vec![0; 300_000];
        for offset in [
            0,
            1,
            4096,
            140_000,
            149_999,
            150_000,
            150_001,
            150_002,
            1 << 40,
        ] {
            let expected = data.get(offset..).unwrap_or_default();
            let read = file.read_at(&mut back, offset as u64).expect("read");
            assert_eq!(read, expected.len(), "{kind:?} at {offset}");
            assert!(back[..read] == *expected, "{kind:?} at {offset}");
        }
    }
}

#[test]
#[ignore = "root"]
fn cached_data_is_what_the_lower_file_holds() {
    for kind in ALL {
        let mount = Mount::new(kind);
        let data = pattern(5_000_003, 3);
        std::fs::write(mount.path().join("cached"), &data).expect("write");
        assert!(
            std::fs::read(mount.lower()).expect("read") == data,
            "{kind:?}"
        );
        let cached = mount.path().join("cached");
        assert!(std::fs::read(cached).expect("read") == data, "{kind:?}");
    }
}

#[test]
#[ignore = "root"]
fn splice_moves_long_data_and_counts_what_it_must_copy() {
    let mount = Mount::new(TransportKind::Splice);
    let counters = mount.session.counters();
    let data = pattern(100_000, 1);

    let file = open(&mount, "direct");
    file.write_all_at(&data, 0).expect("write");
    let mut back = vec![0; data.len()];
    file.read_exact_at(&mut back, 0).expect("read");
    assert_eq!(
        (counters.writes_spliced.get(), counters.reads_spliced.get()),
        (1, 1)
    );
    assert_eq!(
        (
            counters.writes_not_spliced.get(),
            counters.reads_not_spliced.get()
        ),
        (0, 0)
    );

    // A file open for appending cannot be spliced to.
    open(&mount, "append")
        .write_all_at(&data, 0)
        .expect("append");
    assert_eq!(counters.writes_not_spliced.get(), 1);
    let lower = std::fs::read(mount.lower()).expect("read");
    assert!(lower == [&data[..], &data[..]].concat());

    // Nor can one open for direct I/O, if the length is not aligned; the error is pwrite's own.
    let unaligned = open(&mount, "odirect").write_at(&data[..50_001], 0);
    let lower = File::options()
        .write(true)
        .custom_flags(nix::libc::O_DIRECT)
        .open(mount.lower())
        .expect("open");
    let by_itself = lower.write_at(&data[..50_001], 0);
    assert_eq!(
        unaligned.map_err(|error| error.raw_os_error()),
        by_itself.map_err(|error| error.raw_os_error())
    );
    // And afterwards the pipes are as good as before.
    file.write_all_at(&data, 12_345).expect("write");
    file.read_exact_at(&mut back, 12_345).expect("read");
    assert!(back == data);
}

#[test]
#[ignore = "root"]
fn a_panic_is_one_request_that_fails() {
    for kind in ALL {
        let mount = Mount::new(kind);
        for _ in 0..5 {
            let error = File::open(mount.path().join("panic")).expect_err("it panics");
            assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{kind:?}");
        }
        assert_eq!(mount.session.counters().panics.get(), 5, "{kind:?}");
        open(&mount, "direct");
    }
}

#[test]
#[ignore = "root"]
fn a_signal_ends_the_wait_for_a_lock() {
    for kind in ALL {
        let mount = Mount::new(kind);
        let holder = File::options().write(true).open(mount.lower());
        let holder = holder.expect("the lower file");
        let lock = lock(nix::libc::F_WRLCK);
        fcntl(holder.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).expect("the lock is free");
        for _ in 0..20 {
            assert_eq!(
                interrupted_wait(&mount),
                nix::errno::Errno::EINTR,
                "{kind:?}"
            );
        }
        // The mount has been served all the while; and a lock that is free is had.
        drop(holder);
        let file = open(&mount, "direct");
        fcntl(file.as_fd(), FcntlArg::F_SETLKW(&lock)).expect("the lock is free");
        assert_eq!(mount.session.counters().blocking_refused.get(), 0);
    }
}

/// What fcntl(2) says in a thread that waits for a lock and gets a signal.
fn interrupted_wait(mount: &Mount) -> nix::errno::Errno {
    mount.fs.waits.store(false, Ordering::Release);
    let file = open(mount, "direct");
    let (tell, told) = mpsc::channel();
    let waiter = thread::spawn(move || {
        tell.send(KickHandle::of_this_thread().expect("a handle"))
            .expect("told");
        fcntl(file.as_fd(), FcntlArg::F_SETLKW(&lock(nix::libc::F_WRLCK)))
    });
    let waiter_thread = told.recv().expect("told");
    while !mount.fs.waits.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
    std::fs::metadata(mount.path().join("direct")).expect("others are served");
    waiter_thread.kick();
    waiter
        .join()
        .expect("no panic")
        .expect_err("the lock is held")
}

fn lock(kind: i32) -> nix::libc::flock {
    nix::libc::flock {
        l_type: kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[test]
#[ignore = "root"]
fn more_waiters_than_threads_do_not_hold_up_the_mount() {
    for kind in ALL {
        let mut mount = Mount::new(kind);
        let holder = File::options().write(true).open(mount.lower());
        let holder = holder.expect("the lower file");
        let lock = lock(nix::libc::F_WRLCK);
        fcntl(holder.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).expect("the lock is free");
        let waiters: Vec<_> = (0..40)
            .map(|_| {
                let file = open(&mount, "direct");
                thread::spawn(move || fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&lock)))
            })
            .collect();
        for _ in 0..100 {
            std::fs::metadata(mount.path().join("direct")).expect("others are served");
        }
        // Aborted: the applications get an error, and the threads that wait end, too.
        mount.abort();
        for waiter in waiters {
            waiter.join().expect("no panic").expect_err("aborted");
        }
        mount.wait();
        assert!(mount.fs.destroyed.load(Ordering::Acquire), "{kind:?}");
    }
}

#[test]
#[ignore = "root"]
fn an_abort_ends_the_threads_and_fails_the_applications() {
    for kind in ALL {
        let mut mount = Mount::new(kind);
        let file = open(&mount, "direct");
        mount.abort();
        let error = file.read_at(&mut [0; 10], 0).expect_err("aborted");
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{kind:?}");
        mount.wait();
        assert!(mount.fs.destroyed.load(Ordering::Acquire), "{kind:?}");
    }
}

#[test]
#[ignore = "root"]
fn stop_ends_the_threads_of_a_mount_in_use() {
    for kind in ALL {
        let mut mount = Mount::new(kind);
        let file = open(&mount, "direct");
        mount.session.stop();
        mount.wait();
        assert!(mount.fs.destroyed.load(Ordering::Acquire), "{kind:?}");
        // Nobody serves any more, and the device is still open: only now can an application go on.
        drop(mount);
        let error = file
            .read_at(&mut [0; 10], 0)
            .expect_err("the mount is gone");
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{kind:?}");
    }
}

#[test]
#[ignore = "root"]
fn an_unmount_forgets_every_lookup_and_ends_the_threads() {
    for kind in ALL {
        let mut mount = Mount::new(kind);
        for name in echo::FILES {
            std::fs::metadata(mount.path().join(name)).expect("it is there");
        }
        assert!(mount.fs.looked_up.load(Ordering::Acquire) >= echo::FILES.len() as u64);
        std::fs::write("/proc/sys/vm/drop_caches", "2").expect("root");
        // FORGET has no reply to wait for.
        while mount.fs.looked_up.load(Ordering::Acquire) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        nix::mount::umount(&mount.path()).expect("it is not busy");
        mount.wait();
        assert!(mount.fs.destroyed.load(Ordering::Acquire), "{kind:?}");
    }
}

#[test]
#[ignore = "root"]
fn a_small_max_write_is_kept_to() {
    for kind in DEV_FUSE {
        let mount = Mount::with(kind, |config| config.max_write = 4096);
        assert_eq!(mount.fs.negotiated().max_write, 4096);
        let data = pattern(1_000_000, 5);
        let file = open(&mount, "direct");
        file.write_all_at(&data, 3).expect("write");
        let mut back = vec![0; data.len()];
        file.read_exact_at(&mut back, 3).expect("read");
        assert!(back == data);
    }
}
