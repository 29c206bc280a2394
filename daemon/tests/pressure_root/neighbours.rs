//! Two mounts of the shm transport, one of another transport, and an io_uring program that has nothing to
//! do with them and uses the very numbers that their programs look for: none disturbs another.

use crate::{
    common::{TestMount, Variant, Watchdog, child::Forked, scale, stat, wait_until},
    victims::{self, Victims},
};
use io_uring::{IoUring, cqueue, opcode, squeue::Entry128};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use transport::{
    cq::SEEN,
    index::{QueueIndex, RingIndex, SlotIndex},
    tag::{Tag, TagKind},
};

/// Processes that use each mount.
const VICTIMS: usize = 2;
/// How long all of them are at work, at scale 1.
const TIME: Duration = Duration::from_secs(2);
/// SQEs of a foreign ring.
const BATCH: u32 = 64;

/// Every tag of a daemon, one after the other.
struct Tags {
    cookie: u16,
    next: u32,
}

impl Tags {
    fn next(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        let kinds = [
            TagKind::Entry,
            TagKind::Entry,
            TagKind::Wake,
            TagKind::Nudge,
        ];
        let tag = Tag {
            cookie: self.cookie,
            kind: kinds[self.next as usize % kinds.len()],
            ring: RingIndex((self.next >> 2) as u8 & 1),
            queue: QueueIndex((self.next >> 3) as u16 % 4),
            slot: SlotIndex((self.next >> 5) as u16 % 8),
        };
        tag.to_user_data()
    }
}

/// What has nothing to do with FUSE: does nothing, reads a file, and looks that each completion is its
/// own.
fn foreign(cookie: u16, file: &Path, polled: bool, time: Duration) {
    let mut builder = IoUring::<Entry128, cqueue::Entry>::builder();
    if polled {
        builder.setup_sqpoll(10);
    } else {
        builder.setup_single_issuer().setup_defer_taskrun();
    }
    let mut ring = builder.build(BATCH).expect("a ring");
    let contents = fs::read(file).expect("the file");
    let opened = fs::File::open(file).expect("the file");
    let fd = io_uring::types::Fd(std::os::fd::AsRawFd::as_raw_fd(&opened));
    let mut tags = Tags { cookie, next: 0 };
    let start = Instant::now();
    while start.elapsed() < time {
        let mut buffers = vec![vec![0u8; contents.len()]; BATCH as usize];
        let mut expected = Vec::new();
        for buffer in &mut buffers {
            let tag = tags.next();
            let entry = if tag.is_multiple_of(2) {
                expected.push((tag, contents.len() as i32));
                opcode::Read::new(fd, buffer.as_mut_ptr(), buffer.len() as u32).build()
            } else {
                expected.push((tag, 0));
                opcode::Nop::new().build()
            };
            let entry = Entry128::from(entry.user_data(tag));
            #[expect(unsafe_code, reason = "buffers are lent to the kernel")]
            // SAFETY: the buffers live until the completions of all have been seen, below.
            unsafe { ring.submission().push(&entry) }.expect("room");
        }
        ring.submit_and_wait(expected.len()).expect("completions");
        let mut seen: Vec<_> = ring.completion().collect();
        while seen.len() < expected.len() {
            ring.submit_and_wait(1).expect("completions");
            seen.extend(ring.completion());
        }
        let mut found: Vec<_> = seen
            .iter()
            .map(|cqe| (cqe.user_data(), cqe.result()))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "completions that are not ours");
        assert!(
            seen.iter().all(|cqe| cqe.flags() & SEEN == 0),
            "a mark in ours"
        );
    }
}

fn none_disturbs_another(variant: Variant) {
    let time = TIME * scale::factor() as u32;
    let _watchdog = Watchdog::start("neighbours", time + crate::common::LIMIT);
    let mut mounts: Vec<_> = [variant, variant, Variant::CLASSIC_COPY]
        .map(|variant| {
            TestMount::builder(variant)
                .args(&["--queue-depth", "4"])
                .mount()
        })
        .into();
    let victims: Vec<_> = mounts
        .iter()
        .map(|mount| {
            victims::prepare(mount.lower());
            Victims::start(mount.path(), mount.scratch(), VICTIMS)
        })
        .collect();
    let file = mounts[0].plain().join("file");
    fs::write(&file, [7; 5000]).expect("a file");
    // The cookie of a mount is the lower half of its daemon's number.
    let cookies: Vec<_> = mounts[..2]
        .iter_mut()
        .map(|mount| mount.the_daemon().pid().as_raw() as u16)
        .collect();
    let strangers = [(cookies[0], false), (cookies[1], false), (cookies[0], true)];
    let strangers =
        strangers.map(|(cookie, polled)| Forked::start(|| foreign(cookie, &file, polled, time)));
    for stranger in strangers {
        stranger.join();
    }
    for victims in victims {
        victims.wait_for_progress(1);
        let fates = victims.stop();
        println!("{} rounds of the victims of a mount", fates.rounds);
        assert_eq!((fates.lost, fates.ended), (0, 0), "{fates:?}");
    }
    for mount in &mounts[..2] {
        wait_until("nothing is in flight", || {
            stat(mount.path())["totals"]["in_flight"] == 0
        });
        let stat = stat(mount.path());
        assert_eq!(stat["corrupt"], 0, "{stat}");
    }
    for mount in mounts {
        victims::check_written(mount.lower(), VICTIMS);
        mount.finish();
    }
}

with_each_engine!([none_disturbs_another]);
