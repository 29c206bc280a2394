//! Every model with its bound, and every mutant with the model that must fail.

use crate::models::{
    cq, fact, generation, interest, lane, lookups, park, place, restart, rules, session, slot, sq,
    stats, worker,
};
use transport::mutant::Mutant;

/// A question, and how it is asked.
#[derive(Debug)]
pub struct Model {
    /// Name on the command line.
    pub name: &'static str,
    /// What it asks, in one sentence.
    pub question: &'static str,
    /// Preemptions explored in `--quick`; `None`: all executions.
    pub quick: Option<usize>,
    /// Preemptions explored otherwise; `None`: all executions.
    pub full: Option<usize>,
    /// Asks it; panics if the answer is no.
    pub run: fn(Option<usize>),
}

macro_rules! models {
    ($($name:literal, $quick:expr, $full:expr, $run:path, $question:literal;)+) => {
        &[$(Model { name: $name, question: $question, quick: $quick, full: $full, run: $run },)+]
    };
}

/// Every model.
pub const MODELS: &[Model] = models! {
    "lane", Some(3), None, lane::wraps_and_fills,
        "entries come out once and in order, after what they stand for, over the wrap and when full";
    "sq", Some(3), None, sq::hands_over,
        "the kernel reads each commit whole, once, with its reply, over the wrap and when full";
    "sq-poll", None, None, sq::wakes_the_poll_thread,
        "the poll thread never sleeps over a commit of the daemon";
    "cq", Some(3), None, cq::gives_places_back,
        "the daemon reads each standing completion whole before its place is written again";
    "cq-token", Some(1), Some(2), cq::head_is_a_token,
        "a completion is either the program's or the daemon's, and none is passed over";
    "slot", Some(2), Some(3), slot::wanders_between_rings,
        "an entry that wanders between both rings gets each reply once, and the right one";
    "slot-pair", Some(2), Some(3), slot::two_slots_do_not_mix,
        "program and daemon work on two slots of a queue without mixing them up";
    "slot-scribble", None, None, slot::survives_scribbles,
        "a scribbled header or slot word does not make a commit of another request";
    "park", Some(2), Some(3), park::two_producers_one_sleeper,
        "no wake-up is lost between two producers and one sleeper";
    "park-sqe", Some(2), Some(3), park::wakes_by_sqe,
        "the program wakes a consumer that goes to sleep, by an SQE";
    "park-nudge", Some(2), Some(3), park::nudges_for_a_standing_completion,
        "a consumer never sleeps over a completion that the program left standing";
    "worker", None, None, worker::never_sleeps_over_an_answer,
        "the worker never sleeps over an answer that it has not submitted";
    "generation", None, None, generation::no_stale_answer_after_a_change,
        "a fill that races a change leaves no wrong answer";
    "generation-back", Some(3), None, generation::no_answer_goes_back,
        "no answer is older than what somebody has seen by another way";
    "generation-mixed", Some(2), Some(3), generation::answers_are_of_the_moment,
        "with fills and changes at once an answer is of a moment of its request";
    "generation-endless", None, None, generation::no_name_outlives_an_endless_change,
        "a name that changes behind the generation is not taken for known, by who passed the lock before";
    "fact", None, None, fact::is_never_torn,
        "a fact that is rewritten while it is read is never torn";
    "fact-writers", Some(2), Some(3), fact::has_one_writer_at_a_time,
        "daemon and program do not write a fact at the same time";
    "interest", None, None, interest::is_revoked_or_right,
        "what the kernel is told while the inode changes is right, or its revocation comes";
    "interest-again", None, None, interest::is_revoked_again,
        "what is told again after a revocation is right, or revoked again; each is reported once";
    "place", None, None, place::holds_what_one_task_has_begun,
        "what a task is changing ends with its own system call, whoever shares its place";
    "rules", None, None, rules::are_of_one_table,
        "who judges while rules are replaced twice goes by one table, or knows that it does not";
    "lookups", None, None, lookups::never_answers_with_a_dead_inode,
        "the program never answers with an inode that FORGET has buried";
    "lookups-moved", Some(3), Some(4), lookups::counts_each_for_its_inode,
        "a look-up is counted for the inode it was answered with, whoever has the word next";
    "stats", Some(3), None, stats::add_up,
        "a reader of the statistics never sees more outcomes than arrivals";
    "session", None, None, session::starts_with_the_control_page_written,
        "who sees the session run sees the control page written";
    "teardown", Some(2), Some(3), session::ends_every_request_once,
        "a teardown with requests in flight ends each of them once";
    "restart", Some(2), Some(3), restart::loses_nothing,
        "a consumer that dies at any step is replaced without a lost or doubled reply";
};

/// Which model fails for which mutant.
pub const KILLERS: &[(Mutant, &str)] = &[
    (Mutant::LanePublishRelaxed, "lane"),
    (Mutant::LaneObserveRelaxed, "lane"),
    (Mutant::LaneTailBeforeEntry, "lane"),
    (Mutant::LaneReleaseRelaxed, "lane"),
    (Mutant::LaneFreeObserveRelaxed, "lane"),
    (Mutant::LaneIgnoresFull, "lane"),
    (Mutant::LaneReleaseBeforeTake, "restart"),
    (Mutant::SqPublishRelaxed, "sq"),
    (Mutant::SqTailBeforeSqe, "sq"),
    (Mutant::SqFreeObserveRelaxed, "sq"),
    (Mutant::SqIgnoresFull, "sq"),
    (Mutant::CqObserveRelaxed, "cq"),
    (Mutant::CqConsumeRelaxed, "cq"),
    (Mutant::CqTokenIgnored, "cq-token"),
    (Mutant::CqDealsBehindStanding, "cq-token"),
    (Mutant::CqHeadBeforeTail, "cq-token"),
    (Mutant::WorkerConsumes, "worker"),
    (Mutant::SlotTakeUnchecked, "restart"),
    (Mutant::SlotCommitUnchecked, "slot-scribble"),
    (Mutant::CommitIdFromHeader, "slot-scribble"),
    (Mutant::ReplyAfterPublish, "slot"),
    (Mutant::ParkNoRecheck, "park"),
    (Mutant::ParkAnnounceRelaxed, "park"),
    (Mutant::ParkClaimRelaxed, "park"),
    (Mutant::ParkClaimLoads, "park"),
    (Mutant::ParkClaimBeforePublish, "park-sqe"),
    (Mutant::NudgeWakesAtOnce, "park-nudge"),
    (Mutant::PollNoBarrier, "sq-poll"),
    (Mutant::GenerationBumpRelaxed, "generation"),
    (Mutant::GenerationStampRelaxed, "generation"),
    (Mutant::GenerationNoBegin, "generation-back"),
    (Mutant::GenerationEndsEarly, "generation-back"),
    (Mutant::GenerationNoBump, "generation"),
    (Mutant::GenerationStampUnderWay, "generation-back"),
    (Mutant::GenerationStampLate, "generation"),
    (Mutant::GenerationUnchecked, "generation"),
    (Mutant::EndlessLate, "generation-endless"),
    (Mutant::EndlessAskedEarly, "generation-endless"),
    (Mutant::FactReadRelaxed, "fact"),
    (Mutant::FactWriteRelaxed, "fact"),
    (Mutant::FactNoRecheck, "fact"),
    (Mutant::FactNoOdd, "fact"),
    (Mutant::FactLockUnchecked, "fact-writers"),
    (Mutant::LookupIgnoresDead, "lookups"),
    (Mutant::LookupBuryUnchecked, "lookups"),
    (Mutant::LookupIgnoresIncarnation, "lookups-moved"),
    (Mutant::LookupCountUnchecked, "lookups-moved"),
    (Mutant::StatOutcomeRelaxed, "stats"),
    (Mutant::StatReadRelaxed, "stats"),
    (Mutant::StatArrivalsFirst, "stats"),
    (Mutant::StatArrivalsLate, "stats"),
    (Mutant::InterestArmRelaxed, "interest"),
    (Mutant::InterestTakeRelaxed, "interest"),
    (Mutant::InterestTakenEarly, "interest"),
    (Mutant::InterestLookedEarly, "interest"),
    (Mutant::InterestNotAgain, "interest-again"),
    (Mutant::ClaimUnchecked, "place"),
    (Mutant::ClaimTakeRelaxed, "place"),
    (Mutant::ClaimReleaseRelaxed, "place"),
    (Mutant::RulesPublishRelaxed, "rules"),
    (Mutant::RulesBeginRelaxed, "rules"),
    (Mutant::RulesReadRelaxed, "rules"),
    (Mutant::RulesWriteRelaxed, "rules"),
    (Mutant::RulesNotAgain, "rules"),
    (Mutant::SessionStartRelaxed, "session"),
    (Mutant::SessionReadRelaxed, "session"),
    (Mutant::SessionIgnored, "teardown"),
    (Mutant::RestartForgetsCommit, "restart"),
    (Mutant::RestartRepeatsCommit, "restart"),
    (Mutant::RestartForgetsReplying, "restart"),
    (Mutant::RestartAnswersDispatched, "restart"),
];
