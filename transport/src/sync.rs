//! The one file that names atomics, and with them every ordering of the protocol.
//!
//! Each shared word is a type named for its role, and its methods are named for who calls them. An
//! ordering belongs to a sync point (`SP-...`), which has the same name at both ends, here and in
//! `docs/memory-ordering.md`.
//!
//! There are three arms. *host* and *bpf* use `core`'s atomics and differ only in that bpf has no
//! fence ([`full_barrier`] is not there); *loom* (`cfg(shmfuse_loom)`) uses loom's. BPF has loads with
//! acquire and stores with release (Linux 6.15), and read-modify-writes, whose result must be used
//! with `AcqRel` (LLVM issue 210280 loses the result of a relaxed one): so no method here does a
//! relaxed read-modify-write, and none is sequentially consistent.
//!
//! In the loom arm, and only there, a [`Mutant`] can weaken one sync point at run time, so that one
//! build shows of each that a model fails without it.

use crate::index::Position;
use Ordering::{AcqRel, Acquire, Relaxed, Release};
use imp::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(shmfuse_loom))]
mod imp {
    pub(super) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}
#[cfg(shmfuse_loom)]
mod imp {
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

#[cfg(shmfuse_loom)]
pub use mutants::{Mutant, activate, is_mutant};
#[cfg(not(shmfuse_loom))]
pub(crate) use production::is_mutant;

/// Asks whether a named weakening is on. Outside the loom arm it never is, and the question
/// leaves no code behind.
macro_rules! weakened {
    ($name:ident) => {
        $crate::sync::is_mutant($crate::sync::mutant!($name))
    };
}
pub(crate) use weakened;

#[cfg(not(shmfuse_loom))]
macro_rules! mutant {
    ($name:ident) => {
        ()
    };
}
#[cfg(shmfuse_loom)]
macro_rules! mutant {
    ($name:ident) => {
        $crate::sync::Mutant::$name
    };
}
pub(crate) use mutant;

/// An ordering that carries a sync point: `strong`, unless its mutant is on.
macro_rules! point {
    ($name:ident, $strong:expr) => {
        if weakened!($name) { Relaxed } else { $strong }
    };
}

/// A place at which a model may let the daemon die.
#[cfg(not(shmfuse_loom))]
#[inline(always)]
pub(crate) const fn crash_point() {}
#[cfg(shmfuse_loom)]
pub(crate) use mutants::crash_point;
#[cfg(shmfuse_loom)]
pub use mutants::{Crash, crash_at};

#[cfg(not(shmfuse_loom))]
mod production {
    #[inline(always)]
    pub(crate) const fn is_mutant(_: ()) -> bool {
        false
    }
}

#[cfg(shmfuse_loom)]
mod mutants {
    //! Named weakenings of the protocol.
    extern crate std;
    use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

    macro_rules! mutants {
        ($($(#[doc = $what:literal])+ $name:ident,)+) => {
            /// A named weakening of the protocol.
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
            pub enum Mutant { $($(#[doc = $what])+ $name,)+ }
            impl Mutant {
                /// Every mutant, with what it does.
                pub const ALL: &'static [(Self, &'static str, &'static str)] =
                    &[$((Self::$name, stringify!($name), concat!($($what),+)),)+];
            }
        };
    }

    mutants! {
        /// SP-LANE: the producer publishes the lane's tail relaxed.
        LanePublishRelaxed,
        /// SP-LANE: the consumer observes the lane's tail relaxed.
        LaneObserveRelaxed,
        /// SP-LANE: the tail is published before the entry is written.
        LaneTailBeforeEntry,
        /// SP-LANE-FREE: the consumer releases an entry relaxed.
        LaneReleaseRelaxed,
        /// SP-LANE-FREE: the producer observes the lane's head relaxed.
        LaneFreeObserveRelaxed,
        /// Protocol 4.4: the producer does not look whether the lane is full.
        LaneIgnoresFull,
        /// Protocol 4.3: the entry is released before the slot is taken.
        LaneReleaseBeforeTake,
        /// SP-SQ: the SQ's tail is published relaxed.
        SqPublishRelaxed,
        /// SP-SQ: the SQ's tail is published before the SQE is written.
        SqTailBeforeSqe,
        /// SP-SQ-FREE: the SQ's writer observes the head relaxed.
        SqFreeObserveRelaxed,
        /// SP-SQ-FREE: the SQ's writer does not look whether it is full.
        SqIgnoresFull,
        /// SP-CQ: the consumer observes the CQ's tail relaxed.
        CqObserveRelaxed,
        /// SP-CQ-TOKEN: the program consumes a completion without being at the head.
        CqTokenIgnored,
        /// Protocol 6.3: having left a completion standing, the program deals with the next one.
        CqDealsBehindStanding,
        /// SP-CQ-TOKEN: the daemon reads the head before the tail.
        CqHeadBeforeTail,
        /// Protocol 6.2: in the worker engine the program moves the head instead of marking.
        WorkerConsumes,
        /// SP-SLOT: the take of a dispatched slot is relaxed.
        SlotTakeRelaxed,
        /// SP-SLOT: the take does not compare: an old lane entry takes the new request.
        SlotTakeUnchecked,
        /// SP-SLOT: the commit does not compare: a predecessor commits after its successor.
        SlotCommitUnchecked,
        /// Protocol 3.6: the commit id is read from the slot at the time of the commit.
        CommitIdFromHeader,
        /// Protocol 3.5: the reply is written after the SQE was published.
        ReplyAfterPublish,
        /// Protocol 3: who is to answer is told by a flag in the slot, not by the lane entry.
        DecisionInSlot,
        /// SP-PARK: the consumer does not look again before it sleeps.
        ParkNoRecheck,
        /// SP-PARK: the consumer announces its sleep with a relaxed swap.
        ParkAnnounceRelaxed,
        /// SP-PARK: the producer claims with a relaxed swap.
        ParkClaimRelaxed,
        /// SP-PARK: the producer loads the word instead of swapping it.
        ParkClaimLoads,
        /// SP-PARK: the producer claims before it publishes.
        ParkClaimBeforePublish,
        /// SP-POLL: no full barrier between publication and the look at NEED_WAKEUP.
        PollNoBarrier,
        /// SP-GEN: a bump is relaxed.
        GenerationBumpRelaxed,
        /// SP-GEN: the stamp is taken with a relaxed load.
        GenerationStampRelaxed,
        /// Protocol 8.2: the bump at the arrival is skipped.
        GenerationNoFirstBump,
        /// Protocol 8.2: the bump at the reply is skipped.
        GenerationNoSecondBump,
        /// Protocol 8.1: the stamp is taken after the look at the lower file system.
        GenerationStampLate,
        /// Protocol 8.1: the fact is served without comparing its stamps.
        GenerationUnchecked,
        /// SP-FACT: the words of a fact are read relaxed.
        FactReadRelaxed,
        /// SP-FACT: the words of a fact are written relaxed.
        FactWriteRelaxed,
        /// SP-FACT: the sequence is not looked at again after the copy.
        FactNoRecheck,
        /// SP-FACT: the writer leaves out the odd sequence.
        FactNoOdd,
        /// SP-LOOKUP: the program counts without looking whether the inode is dead.
        LookupIgnoresDead,
        /// SP-LOOKUP: the daemon buries without comparing.
        LookupBuryUnchecked,
        /// SP-STAT: outcomes are counted relaxed.
        StatOutcomeRelaxed,
        /// SP-STAT: outcomes are read relaxed.
        StatReadRelaxed,
        /// SP-STAT: the reader reads the arrivals first.
        StatArrivalsFirst,
        /// Protocol 12: the arrival is counted after its outcome.
        StatArrivalsLate,
        /// Protocol 6.7: who leaves a completion standing wakes the consumer at once.
        NudgeWakesAtOnce,
        /// SP-SESSION: the daemon closes with a relaxed swap.
        SessionCloseRelaxed,
        /// SP-SESSION: the program reads the session relaxed.
        SessionReadRelaxed,
        /// Protocol 9.3: a commit that was not published is not published again.
        RestartForgetsCommit,
        /// Protocol 9.3: a commit is published again without a look at the commit position.
        RestartRepeatsCommit,
        /// Protocol 9.3: requests in the predecessor's hands are not answered.
        RestartForgetsReplying,
        /// Protocol 9.3: dispatched requests are answered though their entry is in a lane.
        RestartAnswersDispatched,
    }

    static ACTIVE: AtomicU32 = AtomicU32::new(u32::MAX);

    /// Turns one weakening on, or all off, for the whole process.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.store(mutant.map_or(u32::MAX, |it| it as u32), SeqCst);
    }

    /// What a daemon thread dies with at its crash point.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Crash;

    std::thread_local! {
        static CRASH_AT: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
    }

    /// Lets the caller's execution die, by unwinding with [`Crash`], at the `n`th crash point from
    /// now on; 0: at none.
    pub fn crash_at(n: u32) {
        CRASH_AT.with(|it| it.set(n));
    }

    pub(crate) fn crash_point() {
        let left = CRASH_AT.with(|it| it.replace(it.get().saturating_sub(1)));
        if left == 1 {
            std::panic::resume_unwind(std::boxed::Box::new(Crash));
        }
    }

    /// Whether `mutant` is on.
    pub fn is_mutant(mutant: Mutant) -> bool {
        ACTIVE.load(SeqCst) == mutant as u32
    }
}

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
        }
    )+};
}

words! {
    /// A 64-bit word of data: bytes of an entry, an SQE, a header. It orders nothing by itself; a
    /// position or a slot word hands it over.
    Word(AtomicU64: u64);
    /// A 32-bit word of data, ordered by another word.
    Word32(AtomicU32: u32);
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
    /// How often the program told the kernel of an inode. SP-LOOKUP.
    LookupWord(AtomicU64: u64);
    /// A count with one writer. SP-STAT.
    Counter(AtomicU64: u64);
    /// A count with any number of writers, by which nothing is ordered.
    Tally(AtomicU64: u64);
    /// Whether the mount runs or closes. SP-SESSION.
    SessionWord(AtomicU32: u32);
}

impl Word {
    /// The value as it is.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Writes the value; a later publication hands it over.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

impl Word32 {
    /// The value as it is.
    #[inline(always)]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Writes the value; a later publication hands it over.
    #[inline(always)]
    pub fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
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
        Position(self.0.load(Acquire))
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
    /// Who consumed last, with all it did before that. SP-CQ-TOKEN.
    #[inline(always)]
    pub fn observe(&self) -> Position {
        Position(self.0.load(Acquire))
    }

    /// Consumes every completion before `to`. SP-CQ-TOKEN.
    #[inline(always)]
    pub fn consume(&self, to: Position) {
        self.0.store(to.0, Release);
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
    /// The word as it is: for its owner, and for who only counts.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Written by the program between the arrival and its hand-over, when nobody else may.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Release);
    }

    /// Moves from exactly `from` to `to`, or says what is there. SP-SLOT.
    #[inline(always)]
    pub(crate) fn take(&self, from: u64, to: u64) -> Result<u64, u64> {
        if weakened!(SlotTakeRelaxed) {
            return self.0.compare_exchange(from, to, Relaxed, Relaxed);
        }
        if weakened!(SlotTakeUnchecked) {
            return Ok(self.0.swap(to, AcqRel));
        }
        self.0.compare_exchange(from, to, AcqRel, Acquire)
    }

    /// Moves from exactly `from` to `to`, or says what is there. SP-SLOT.
    #[inline(always)]
    pub(crate) fn commit(&self, from: u64, to: u64) -> Result<u64, u64> {
        if weakened!(SlotCommitUnchecked) {
            return Ok(self.0.swap(to, AcqRel));
        }
        self.0.compare_exchange(from, to, AcqRel, Acquire)
    }
}

impl GenerationWord {
    /// The generation, before anything that the caller looks at afterwards. SP-GEN.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        self.0.load(point!(GenerationStampRelaxed, Acquire))
    }

    /// Ends the validity of every fact stamped so far. SP-GEN.
    #[inline(always)]
    pub(crate) fn bump(&self) -> u64 {
        self.0.fetch_add(1, point!(GenerationBumpRelaxed, AcqRel))
    }
}

impl FactSequence {
    /// The sequence before a copy. SP-FACT.
    #[inline(always)]
    pub(crate) fn begin(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// The sequence after a copy whose words were loaded with acquire. SP-FACT.
    #[inline(always)]
    pub(crate) fn again(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Announces (odd) or ends (even) a writing. SP-FACT.
    #[inline(always)]
    pub(crate) fn store(&self, value: u64) {
        self.0.store(value, Release);
    }
}

impl FactWord {
    /// Loads a word of a fact, before the sequence is looked at again. SP-FACT.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(point!(FactReadRelaxed, Acquire))
    }

    /// Writes a word of a fact, after the odd sequence. SP-FACT.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, point!(FactWriteRelaxed, Release));
    }
}

impl LookupWord {
    /// Adds one and returns the value before. SP-LOOKUP.
    #[inline(always)]
    pub(crate) fn increment(&self) -> u64 {
        self.0.fetch_add(1, AcqRel)
    }

    /// The value as it is.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Moves from exactly `from` to `to`, or says what is there. SP-LOOKUP.
    #[inline(always)]
    pub(crate) fn exchange(&self, from: u64, to: u64) -> Result<u64, u64> {
        if weakened!(LookupBuryUnchecked) {
            return Ok(self.0.swap(to, AcqRel));
        }
        self.0.compare_exchange(from, to, AcqRel, Acquire)
    }

    /// Starts over; only while no fact names the inode.
    #[inline(always)]
    pub(crate) fn reset(&self) {
        self.0.store(0, Release);
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

    /// The count so far.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
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
        self.0.swap(to, point!(SessionCloseRelaxed, AcqRel))
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
