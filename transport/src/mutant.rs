//! Named weakenings of the protocol (`cfg(shmfuse_loom)` only): each must make a model fail.
//!
//! They are chosen at run time, so that one build of the models serves all; a build without the cfg has
//! no trace of them. Which model must fail stands in `verify/src/registry.rs`.

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
    /// SP-CQ-TOKEN: the consumer gives CQEs back relaxed.
    CqConsumeRelaxed,
    /// SP-CQ-TOKEN: the program consumes a completion without being at the head.
    CqTokenIgnored,
    /// Protocol 6.3: having left a completion standing, the program deals with the next one.
    CqDealsBehindStanding,
    /// SP-CQ-TOKEN: the daemon reads the head before the tail.
    CqHeadBeforeTail,
    /// Protocol 6.2: in the worker engine the program moves the head instead of marking.
    WorkerConsumes,
    /// SP-SLOT: the take does not compare: an old lane entry takes the new request.
    SlotTakeUnchecked,
    /// SP-SLOT: the commit does not compare: a slot that has gone on is committed.
    SlotCommitUnchecked,
    /// Protocol 3.6: the commit id is read from the slot at the time of the commit.
    CommitIdFromHeader,
    /// Protocol 3.5: the reply is written after the SQE was published.
    ReplyAfterPublish,
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
    /// Protocol 8.2: the begin of a change is not announced, only its end.
    GenerationNoBegin,
    /// Protocol 8.2: a change is ended before it takes effect.
    GenerationEndsEarly,
    /// Protocol 8.2: the generation does not move at a change made by somebody else.
    GenerationNoBump,
    /// Protocol 8.2: the directory's generation moves before it is told that the change has no end.
    EndlessLate,
    /// Protocol 8.7: whether changes without an end began is asked before the stamp is taken.
    EndlessAskedEarly,
    /// Protocol 8.1: a stamp is taken while a change is under way.
    GenerationStampUnderWay,
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
    /// SP-FACT: two write the fact at once.
    FactLockUnchecked,
    /// SP-LOOKUP: the program counts without looking whether the inode is dead.
    LookupIgnoresDead,
    /// SP-LOOKUP: the program counts in a word that was given to another inode meanwhile.
    LookupIgnoresIncarnation,
    /// SP-LOOKUP: the program counts by a load and a store.
    LookupCountUnchecked,
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
    /// SP-SESSION: the daemon starts the session with a relaxed swap.
    SessionStartRelaxed,
    /// Protocol 11.1: the program does not look at the session.
    SessionIgnored,
    /// SP-SESSION: the session is read relaxed.
    SessionReadRelaxed,
    /// SP-INTEREST: the daemon arms the word relaxed.
    InterestArmRelaxed,
    /// SP-INTEREST: the program takes the wish relaxed.
    InterestTakeRelaxed,
    /// SP-INTEREST: the program takes the wish before the change has taken effect.
    InterestTakenEarly,
    /// SP-INTEREST: the daemon looks at the inode before it arms the word.
    InterestLookedEarly,
    /// SP-INTEREST: what was revoked is looked at again without arming the word.
    InterestNotAgain,
    /// SP-CLAIM: a task takes a place without looking whether another has it.
    ClaimUnchecked,
    /// SP-CLAIM: a task takes a place relaxed.
    ClaimTakeRelaxed,
    /// SP-CLAIM: a task gives its place back relaxed.
    ClaimReleaseRelaxed,
    /// SP-RULES: a table of rules is put into force with a relaxed store.
    RulesPublishRelaxed,
    /// SP-RULES: which table is in force is read relaxed.
    RulesBeginRelaxed,
    /// SP-RULES: words of a table are read relaxed.
    RulesReadRelaxed,
    /// SP-RULES: words of a table are written relaxed.
    RulesWriteRelaxed,
    /// SP-RULES: which table is in force is not read again.
    RulesNotAgain,
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
