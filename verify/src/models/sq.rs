//! Handing SQEs to the kernel (protocol 5).

use super::explore;
use crate::rt::pause;
use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};
use transport::{
    error::PushError,
    index::{Position, QueueIndex, RingIndex, SlotIndex, Unique},
    layout::{Blank, Ring},
    sq::{Commit, SqWriter},
    sync::Word,
    tag::{Tag, TagKind},
};

struct Shared {
    ring: Ring<2, 2>,
    /// The replies that the commits hand over.
    replies: [Word; 4],
}

fn at_the_wrap() -> Arc<Shared> {
    let shared = Shared {
        ring: Blank::blank(),
        replies: Blank::blank(),
    };
    let start = Position(u32::MAX);
    shared.ring.words.sq_tail.publish(start);
    shared.ring.words.sq_head.release(start);
    Arc::new(shared)
}

const COMMIT: Commit = Commit {
    queue: QueueIndex(0),
    tag: Tag {
        cookie: 1,
        kind: TagKind::Entry,
        ring: RingIndex::DAEMON,
        queue: QueueIndex(0),
        slot: SlotIndex(0),
    },
};

/// Commits `n` as soon as there is room.
fn push(sq: &mut SqWriter<'_, 2, 2>, replies: &[Word; 4], n: u64) {
    loop {
        match sq.reserve() {
            Ok(room) => {
                replies[n as usize].set(n * 10);
                return room.publish(&COMMIT.sqe(Unique::new(n).expect("a small number")));
            }
            Err(PushError::Full) => pause(),
            Err(PushError::Corrupt(what)) => panic!("{what}"),
        }
    }
}

/// Consumes one SQE as the kernel does, and checks that it and its reply are whole.
fn consume(shared: &Shared, head: &mut Position, expected: u64) -> bool {
    if shared.ring.words.sq_tail.observe() == *head {
        return false;
    }
    let sqe = &shared.ring.sqes[head.place::<2>()];
    assert_eq!(sqe.commit_id(), expected);
    assert_eq!(
        shared.replies[expected as usize].get(),
        expected * 10,
        "an unfinished reply"
    );
    *head = head.next();
    shared.ring.words.sq_head.release(*head);
    true
}

/// Three commits through an SQ of two places, over the wrap: the kernel reads each whole, once and in
/// order, with the reply that was written before it.
pub fn hands_over(preemptions: Option<usize>) {
    explore(preemptions, || {
        let shared = at_the_wrap();
        let daemon = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut sq = SqWriter::attach(&shared.ring);
                for n in 1..=3 {
                    push(&mut sq, &shared.replies, n);
                }
            })
        };
        let mut head = Position(u32::MAX);
        for n in 1..=3 {
            while !consume(&shared, &mut head, n) {
                pause();
            }
        }
        daemon.join().expect("the daemon ends");
    });
}

/// The poll thread goes to sleep while the daemon publishes: it reads the commit before it sleeps,
/// or the daemon sees NEED_WAKEUP and wakes it (`io_sq_thread`, `io_uring_enter(SQ_WAKEUP)`).
pub fn wakes_the_poll_thread(preemptions: Option<usize>) {
    explore(preemptions, || {
        let shared = at_the_wrap();
        let wait = Arc::new((Mutex::new(false), Condvar::new()));
        let daemon = {
            let (shared, wait) = (shared.clone(), wait.clone());
            thread::spawn(move || {
                let mut sq = SqWriter::attach(&shared.ring);
                push(&mut sq, &shared.replies, 1);
                if sq.needs_wakeup() {
                    *wait.0.lock().expect("no panic") = true;
                    wait.1.notify_one();
                }
            })
        };
        let mut head = Position(u32::MAX);
        let sq_flags = &shared.ring.words.sq_flags;
        while !consume(&shared, &mut head, 1) {
            sq_flags.poll_thread_sets(1);
            if consume(&shared, &mut head, 1) {
                break;
            }
            let mut woken = wait.0.lock().expect("no panic");
            while !*woken {
                woken = wait.1.wait(woken).expect("no panic");
            }
        }
        sq_flags.poll_thread_sets(0);
        daemon.join().expect("the daemon ends");
    });
}
