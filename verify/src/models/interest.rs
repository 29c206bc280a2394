//! Interest in changes, by which what the kernel believes is revoked (docs/coherence.md).

use super::explore;
use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};
use transport::{
    changes::is_wanted,
    mutant::{Mutant, is_mutant},
    sync::InterestWord,
};

/// A lower inode that somebody changes behind the mount. What the lower file system itself orders is
/// left out: its state is relaxed.
#[derive(Default)]
struct Inode {
    state: AtomicU64,
    interest: InterestWord,
    /// Reports that stand in the ring. Their own hand-over is the ring's, and is taken for granted.
    reports: AtomicU64,
}

impl Inode {
    /// As the program does in the changer's context.
    fn change(&self, to: u64) {
        let early = is_mutant(Mutant::InterestTakenEarly);
        let before = early && is_wanted(&self.interest);
        self.state.store(to, Relaxed);
        if before || (!early && is_wanted(&self.interest)) {
            self.reports.fetch_add(1, Relaxed);
        }
    }

    /// As the daemon does to fill an answer that is believed until it is revoked.
    fn fill(&self) -> u64 {
        if is_mutant(Mutant::InterestLookedEarly) {
            let state = self.state.load(Relaxed);
            self.interest.arm();
            return state;
        }
        self.interest.arm();
        self.state.load(Relaxed)
    }
}

/// A fill races a change: the answer is of the state after it, or its revocation comes.
pub fn is_revoked_or_right(preemptions: Option<usize>) {
    explore(preemptions, || {
        let inode = Arc::new(Inode::default());
        let changer = {
            let inode = inode.clone();
            thread::spawn(move || inode.change(1))
        };
        let believed = inode.fill();
        changer.join().expect("the change ends");
        let revoked = inode.reports.load(Relaxed) > 0;
        assert!(revoked || believed == 1, "believed for good, and wrong");
    });
}

/// Two changes race an answer that is revoked and filled again: the last one is right, or yet to be revoked;
/// and an inode is not reported more often than it was asked about.
pub fn is_revoked_again(preemptions: Option<usize>) {
    explore(preemptions, || {
        let inode = Arc::new(Inode::default());
        let mut believed = inode.fill();
        let changer = {
            let inode = inode.clone();
            thread::spawn(move || {
                inode.change(1);
                inode.change(2);
            })
        };
        let mut taken = 0;
        if inode.reports.load(Relaxed) > taken {
            taken += 1;
            believed = match is_mutant(Mutant::InterestNotAgain) {
                true => inode.state.load(Relaxed),
                false => inode.fill(),
            };
        }
        changer.join().expect("the changes end");
        let reports = inode.reports.load(Relaxed);
        assert!(reports <= taken + 1, "reported more often than asked");
        assert!(
            reports > taken || believed == 2,
            "believed for good, and wrong"
        );
    });
}
