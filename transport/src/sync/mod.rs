//! The one place that names atomics, and with them every ordering of the protocol.
//!
//! Each shared word is a type named for its role, and its methods are named for who calls them. An
//! ordering belongs to a sync point (`SP-...`), which has the same name at both ends, here and in
//! `docs/memory-ordering.md`.
//!
//! There are three arms. *host* and *bpf* use `core`'s atomics and differ only in that bpf has no
//! fence ([`full_barrier`] is not there); *loom* (`cfg(shmfuse_loom)`) uses loom's. BPF has loads with
//! acquire and stores with release (Linux 6.15), and read-modify-writes, whose result must be used
//! with `AcqRel` (LLVM issue 210280 loses the result of a relaxed one): so no method that a program
//! calls does a relaxed read-modify-write, and none at all is sequentially consistent.
//!
//! In the loom arm, and only there, a `mutant::Mutant` can weaken one sync point at run time, so that one
//! build shows of each that a model fails without it.

#![cfg_attr(
    not(shmfuse_loom),
    expect(clippy::disallowed_types, reason = "the one file that names them")
)]

mod arms;
mod cache;

use crate::index::Position;
pub(crate) use arms::{crash_point, is_mutant, mutant, weakened};
use arms::{imp, point};
use imp::Ordering::{AcqRel, Acquire, Relaxed, Release};
use imp::{AtomicU32, AtomicU64};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident($atomic:ident: $ty:ty);)+) => {$(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Default, Debug)]
        pub struct $name($atomic);

        impl $name {
            /// The word with a value, for memory that is not mapped.
            pub fn new(value: $ty) -> Self {
                Self($atomic::new(value))
            }

            /// Writes any value, as a peer gone mad may.
            #[cfg(any(test, feature = "testing"))]
            pub fn scribble(&self, value: $ty) {
                self.0.store(value, Relaxed);
            }
        }
    )+};
}

mod claim;
mod interest;
mod rules;
pub use claim::ClaimWord;
pub use interest::InterestWord;

/// A 64-bit word of data: bytes of an entry, an SQE, a header. It orders nothing by itself; a
/// position hands it over.
#[repr(transparent)]
#[derive(Default, Debug)]
pub struct Word(imp::Data64);

/// A 32-bit word of data, ordered by another word.
#[repr(transparent)]
#[derive(Default, Debug)]
pub struct Word32(imp::Data32);

words! {
    /// Where the producer of a lane writes next. SP-LANE.
    LaneTail(AtomicU32: u32);
    /// Where the consumer of a lane reads next. SP-LANE-FREE.
    LaneHead(AtomicU32: u32);
    /// Where the writer of an SQ writes next; read by the kernel. SP-SQ.
    SqTail(AtomicU32: u32);
    /// Where the kernel reads the SQ next. SP-SQ-FREE.
    SqHead(AtomicU32: u32);
    /// The SQ's flags, by the kernel. SP-POLL.
    SqFlags(AtomicU32: u32);
    /// How far the kernel has published the CQ. SP-CQ.
    CqTail(AtomicU32: u32);
    /// How far the CQ is consumed: a token between program and daemon. SP-CQ-TOKEN.
    CqHead(AtomicU32: u32);
    /// Whether a consumer sleeps. SP-PARK.
    ParkWord(AtomicU32: u32);
    /// Who owns a slot, and for which request. SP-SLOT.
    SlotWord(AtomicU64: u64);
    /// The generation of all inodes that hash to it. SP-GEN.
    GenerationWord(AtomicU64: u64);
    /// The sequence over a fact's words; odd while they are written. SP-FACT.
    FactSequence(AtomicU64: u64);
    /// A word of a fact. SP-FACT.
    FactWord(AtomicU64: u64);
    /// Whether a fact was of use lately, by which nothing is ordered.
    FactUse(AtomicU64: u64);
    /// How often the program told the kernel of an inode. SP-LOOKUP.
    LookupWord(AtomicU64: u64);
    /// A count with one writer. SP-STAT.
    Counter(AtomicU64: u64);
    /// A count with any number of writers, by which nothing is ordered.
    Tally(AtomicU64: u64);
    /// Which table of rules is in force. SP-RULES.
    RulesEpoch(AtomicU64: u64);
    /// A word of a table of rules. SP-RULES.
    RuleWord(AtomicU64: u64);
    /// What a rule's token bucket has been drawn upon, by which nothing is ordered.
    RuleBucket(AtomicU64: u64);
    /// Up to which generation the daemon shows attributes as the rule book says.
    RulesShown(AtomicU64: u64);
    /// Which process writes the rule book.
    RuleWriter(AtomicU64: u64);
    /// Which request's start a place holds, by which nothing is ordered.
    StartOwner(AtomicU64: u64);
    /// Whether the mount runs or closes. SP-SESSION.
    SessionWord(AtomicU32: u32);
}

impl Word {
    /// The value as it is.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        imp::get64(&self.0)
    }

    /// Writes the value; a later publication hands it over.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        imp::set64(&self.0, value);
    }
}

impl Word32 {
    /// The value as it is.
    #[inline(always)]
    pub fn get(&self) -> u32 {
        imp::get32(&self.0)
    }

    /// Writes the value; a later publication hands it over.
    #[inline(always)]
    pub fn set(&self, value: u32) {
        imp::set32(&self.0, value);
    }
}

impl LaneTail {
    /// The producer's own last value.
    #[inline(always)]
    pub fn own(&self) -> Position {
        Position(self.0.load(Relaxed))
    }

    /// Hands over every entry before `to`. Pairs with [`observe`](Self::observe), SP-LANE.
    #[inline(always)]
    pub fn publish(&self, to: Position) {
        self.0.store(to.0, point!(LanePublishRelaxed, Release));
    }

    /// What the producer published. Pairs with [`publish`](Self::publish), SP-LANE.
    #[inline(always)]
    pub fn observe(&self) -> Position {
        Position(self.0.load(point!(LaneObserveRelaxed, Acquire)))
    }
}

impl LaneHead {
    /// The consumer's own last value, or what its predecessor left.
    #[inline(always)]
    pub fn own(&self) -> Position {
        Position(self.0.load(Relaxed))
    }

    /// Gives back every entry before `to`. Pairs with [`observe`](Self::observe), SP-LANE-FREE.
    #[inline(always)]
    pub fn release(&self, to: Position) {
        self.0.store(to.0, point!(LaneReleaseRelaxed, Release));
    }

    /// What the consumer gave back. Pairs with [`release`](Self::release), SP-LANE-FREE.
    #[inline(always)]
    pub fn observe(&self) -> Position {
        Position(self.0.load(point!(LaneFreeObserveRelaxed, Acquire)))
    }
}

impl SqTail {
    /// The writer's own last value, or what was written on its behalf in its own thread.
    #[inline(always)]
    pub fn own(&self) -> Position {
        Position(self.0.load(Relaxed))
    }

    /// Hands SQEs to the kernel, which loads the tail with acquire (`io_sqring_entries`). SP-SQ.
    #[inline(always)]
    pub fn publish(&self, to: Position) {
        self.0.store(to.0, point!(SqPublishRelaxed, Release));
    }

    /// What the kernel does; for its model. SP-SQ.
    #[cfg(any(test, feature = "testing"))]
    pub fn observe(&self) -> Position {
        Position(self.0.load(Acquire))
    }
}

impl SqHead {
    /// What the kernel has copied out; it stores with release (`io_commit_sqring`). SP-SQ-FREE.
    #[inline(always)]
    pub fn observe(&self) -> Position {
        Position(self.0.load(point!(SqFreeObserveRelaxed, Acquire)))
    }

    /// What the kernel does; for its model. SP-SQ-FREE.
    #[cfg(any(test, feature = "testing"))]
    pub fn release(&self, to: Position) {
        self.0.store(to.0, Release);
    }
}

impl CqTail {
    /// What the kernel published; it stores with release (`io_commit_cqring`). SP-CQ.
    #[inline(always)]
    pub fn observe(&self) -> Position {
        Position(self.0.load(point!(CqObserveRelaxed, Acquire)))
    }

    /// What the kernel does; for its model. SP-CQ.
    #[cfg(any(test, feature = "testing"))]
    pub fn publish(&self, to: Position) {
        self.0.store(to.0, Release);
    }
}

impl CqHead {
    /// How far completions are consumed. Relaxed: it only decides whose the next one is, and SP-CQ
    /// has handed over what is in it. SP-CQ-TOKEN.
    #[inline(always)]
    pub fn observe(&self) -> Position {
        Position(self.0.load(Relaxed))
    }

    /// Consumes every completion before `to`: the kernel writes new ones in their places, having
    /// seen this (`io_cqe_cache_refill`). SP-CQ-TOKEN.
    #[inline(always)]
    pub fn consume(&self, to: Position) {
        self.0.store(to.0, point!(CqConsumeRelaxed, Release));
    }

    /// What the kernel does before it writes CQEs: a load and a branch, which order as an acquire
    /// does against the writes that follow; for its model. SP-CQ-TOKEN.
    #[cfg(any(test, feature = "testing"))]
    pub fn kernel_observes(&self) -> Position {
        Position(self.0.load(Acquire))
    }
}

impl ParkWord {
    /// Swaps a value in and returns the one before. Either side does nothing else to the word
    /// (protocol 7.1), so of two swaps one reads from the other. SP-PARK.
    #[inline(always)]
    pub(crate) fn announce(&self, value: u32) -> u32 {
        self.0.swap(value, point!(ParkAnnounceRelaxed, AcqRel))
    }

    /// As [`announce`](Self::announce), on the producer's side. SP-PARK.
    #[inline(always)]
    pub(crate) fn claim(&self, value: u32) -> u32 {
        if weakened!(ParkClaimLoads) && self.0.load(Acquire) == value {
            return value;
        }
        self.0.swap(value, point!(ParkClaimRelaxed, AcqRel))
    }

    /// What the futex call compares; for its model.
    #[cfg(any(test, feature = "testing"))]
    pub fn futex_value(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl SlotWord {
    /// The word as it is. Relaxed, as are all its accesses: it decides who owns the slot, and the
    /// lane (SP-LANE) or the CQ (SP-CQ) has handed over what is in it. SP-SLOT.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Written by the program between the arrival and its hand-over, when nobody else may.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Moves from exactly `from` to `to`, or says what is there. SP-SLOT.
    #[inline(always)]
    pub(crate) fn take(&self, from: u64, to: u64) -> Result<u64, u64> {
        if weakened!(SlotTakeUnchecked) {
            return Ok(self.0.swap(to, Relaxed));
        }
        self.0.compare_exchange(from, to, Relaxed, Relaxed)
    }

    /// Moves from exactly `from` to `to`, or says what is there. SP-SLOT.
    #[inline(always)]
    pub(crate) fn commit(&self, from: u64, to: u64) -> Result<u64, u64> {
        if weakened!(SlotCommitUnchecked) {
            return Ok(self.0.swap(to, Relaxed));
        }
        self.0.compare_exchange(from, to, Relaxed, Relaxed)
    }
}

impl Counter {
    /// Adds to a count whose only writer is the caller, after all it counted before. SP-STAT.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        let value = self.0.load(Relaxed).wrapping_add(n);
        self.0.store(value, point!(StatOutcomeRelaxed, Release));
    }

    /// The count, with all that its writer counted before. SP-STAT.
    #[inline(always)]
    pub fn read(&self) -> u64 {
        self.0.load(point!(StatReadRelaxed, Acquire))
    }
}

impl Tally {
    /// Adds to the count.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, AcqRel);
    }

    /// Begins at 0 again; what is counted at the same time may be lost.
    pub fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// The count so far.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl StartOwner {
    /// Whose start it is; 0: nobody's.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Makes it `id`'s or nobody's, whose ever it was.
    #[inline(always)]
    pub fn set(&self, id: u64) {
        self.0.store(id, Relaxed);
    }

    /// Makes it `id`'s if it is nobody's; whether it was.
    #[inline(always)]
    pub fn claim(&self, id: u64) -> bool {
        self.0.compare_exchange(0, id, Relaxed, Relaxed).is_ok()
    }
}

impl SessionWord {
    /// The session at an arrival. SP-SESSION.
    #[inline(always)]
    pub(crate) fn observe(&self) -> u32 {
        self.0.load(point!(SessionReadRelaxed, Acquire))
    }

    /// Changes the session and returns the one before. SP-SESSION.
    #[inline(always)]
    pub(crate) fn change(&self, to: u32) -> u32 {
        self.0.swap(to, point!(SessionStartRelaxed, AcqRel))
    }
}

#[cfg(not(target_arch = "bpf"))]
impl SqFlags {
    /// The flags after a publication on the SQ, with a full barrier between the two: the poll
    /// thread sets NEED_WAKEUP, passes its own (`smp_mb__after_atomic` in `io_sq_thread`), and
    /// looks at the tail again. SP-POLL.
    #[inline(always)]
    pub fn after_publish(&self) -> u32 {
        if !weakened!(PollNoBarrier) {
            full_barrier();
        }
        self.0.load(Relaxed)
    }

    /// What the poll thread does to the flags; for its model. SP-POLL.
    #[cfg(any(test, feature = "testing"))]
    pub fn poll_thread_sets(&self, flags: u32) {
        self.0.store(flags, Relaxed);
        full_barrier();
    }
}

#[cfg(not(any(shmfuse_loom, target_arch = "bpf")))]
fn full_barrier() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

#[cfg(shmfuse_loom)]
fn full_barrier() {
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}
