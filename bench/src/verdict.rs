//! The questions a run is made to answer, each with the measured ratio and its interval.

use crate::{
    ablation::{ALL_OFF, ALL_ON, RULED},
    record::Row,
    stats::{median, median_interval, paired},
    summary::rates,
};
use serde::{Deserialize, Serialize};

/// A question that two variants answer on one workload.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// In words.
    pub text: &'static str,
    /// In which group.
    pub group: &'static str,
    /// Which workload.
    pub workload: &'static str,
    /// Whose rate.
    pub variant: &'static str,
    /// Over whose; [`BEST_PEER`] is the fastest of the group's peers.
    pub against: &'static str,
}

/// Stands for the fastest variant of a group that is none of ours.
pub const BEST_PEER: &str = "the best peer";

const fn ask(
    text: &'static str,
    group: &'static str,
    workload: &'static str,
    variant: &'static str,
    against: &'static str,
) -> Question {
    Question {
        text,
        group,
        workload,
        variant,
        against,
    }
}

/// Every question; one whose variants are not in a run is left out of its report.
pub const QUESTIONS: &[Question] = &[
    ask(
        "Does shared memory beat read and write on /dev/fuse, request for request?",
        "transport",
        "stat",
        "shm",
        "classic",
    ),
    ask(
        "Does io_uring beat read and write on /dev/fuse, request for request?",
        "transport",
        "stat",
        "uring",
        "classic",
    ),
    ask(
        "The same with an application on every CPU?",
        "transport",
        "stat x2",
        "uring",
        "classic",
    ),
    ask(
        "Does memory shared with kernel programs beat private memory?",
        "transport",
        "stat",
        "shm",
        "uring",
    ),
    ask(
        "Does in-kernel answering pay?",
        "transport",
        "stat",
        "shm",
        "shm~s1=off",
    ),
    ask(
        "Does it pay in the kernel engine?",
        "transport",
        "stat",
        "shm-kernel",
        "shm-kernel~s1=off",
    ),
    ask(
        "Is the kernel engine faster than the worker engine?",
        "transport",
        "stat",
        "shm-kernel",
        "shm",
    ),
    ask(
        "Does shared memory beat private memory, reading a stream?",
        "streams",
        "read stream 1M",
        "shm",
        "uring",
    ),
    ask(
        "Does io_uring beat read and write, reading a stream?",
        "streams",
        "read stream 1M",
        "uring",
        "classic",
    ),
    ask(
        "Does splice beat copying, reading a stream?",
        "streams",
        "read stream 1M",
        "splice",
        "classic",
    ),
    ask(
        "Does splice beat copying, writing a stream?",
        "streams",
        "write stream 1M",
        "splice",
        "classic",
    ),
    ask(
        "Is kernel passthrough as fast as the lower file system, reading a stream?",
        "streams",
        "read stream 1M",
        "shm+passthrough",
        "native",
    ),
    ask(
        "Is kernel passthrough as fast as the lower file system, writing a stream?",
        "streams",
        "write stream 1M",
        "shm+passthrough",
        "native",
    ),
    ask(
        "Is it when writing 4 KiB at a time?",
        "streams",
        "write stream 4K",
        "shm+passthrough",
        "native",
    ),
    ask(
        "Does passthrough beat copying, reading a stream?",
        "streams",
        "read stream 1M",
        "shm+passthrough",
        "shm",
    ),
    ask(
        "When does zero-copy lose? Small files: passthrough against copying.",
        "metadata",
        "open+read+close",
        "shm+passthrough",
        "shm",
    ),
    ask(
        "Does zero-copy lose when a file that is in the page cache is read again at random?",
        "fio",
        "fio randread 4K",
        "shm+passthrough",
        "shm",
    ),
    ask(
        "Does the choice by itself (auto) reach passthrough, reading a stream?",
        "streams",
        "read stream 1M",
        "shm+auto",
        "shm+passthrough",
    ),
    ask(
        "Is a cached mount as fast as the lower file system, asking for attributes?",
        "peers",
        "stat",
        "shm+auto@coherent",
        "native",
    ),
    ask(
        "Are small files, opened and read, faster than with the best peer?",
        "peers",
        "open+read+close",
        "shm+auto@coherent",
        BEST_PEER,
    ),
    ask(
        "Are small files, made and unlinked, faster than with the best peer?",
        "peers",
        "create+write+close+unlink",
        "shm+auto@coherent",
        BEST_PEER,
    ),
    ask(
        "With timeouts of a second: small files against the best peer?",
        "peers",
        "open+read+close",
        "uring+auto@ttl=1",
        BEST_PEER,
    ),
    ask(
        "Is git status as fast as on the lower file system?",
        "work",
        "git status",
        "shm+auto@coherent",
        "native",
    ),
    ask(
        "Is a build as fast as on the lower file system?",
        "work",
        "cargo build",
        "shm+auto@coherent",
        "native",
    ),
    ask(
        "Do all stages together pay, asking for attributes?",
        "ablation",
        "stat",
        ALL_ON,
        ALL_OFF,
    ),
    ask(
        "Do they pay on the first walk of a tree?",
        "ablation",
        "find -ls, first",
        ALL_ON,
        ALL_OFF,
    ),
    ask(
        "What does it cost to look at 64 rules that no request meets?",
        "ablation",
        "stat",
        RULED,
        ALL_ON,
    ),
    ask(
        "Does shared memory bear busy CPUs as well as private memory?",
        "busy",
        "stat on busy CPUs",
        "shm",
        "uring",
    ),
    ask(
        "Are cached answers as fast when the lower file system is slow?",
        "slow",
        "stat",
        "shm-kernel~lower-delay=1ms",
        "shm-kernel",
    ),
];

/// An answered [`Question`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was asked.
    pub question: String,
    /// In which group.
    pub group: String,
    /// On which workload.
    pub workload: String,
    /// Whose rate.
    pub variant: String,
    /// Over whose.
    pub against: String,
    /// Rate of `variant` over that of `against` in the same round, median of the rounds.
    pub ratio: f64,
    /// 95 % interval of `ratio`, by order ([`median_interval`]).
    pub interval: [f64; 2],
}

impl Verdict {
    /// Faster, slower, or that the interval holds 1, or is none because there is one repetition.
    pub fn word(&self) -> &'static str {
        match self.interval {
            [low, high] if low == high => "one repetition",
            [low, _] if low > 1.0 => "faster",
            [_, high] if high < 1.0 => "slower",
            _ => "no difference shown",
        }
    }
}

/// Answers every question that these rows can answer; `peers` are the variants that are none of
/// ours.
pub fn verdicts(rows: &[Row], peers: &[String]) -> Vec<Verdict> {
    QUESTIONS
        .iter()
        .filter_map(|question| {
            let of = |variant: &str| rates(rows, question.group, question.workload, variant);
            let best = || {
                let by_rate = |peer: &&String| median(&of(peer));
                let fastest = |a: &&String, b: &&String| by_rate(a).total_cmp(&by_rate(b));
                peers.iter().max_by(fastest).cloned()
            };
            let against = match question.against {
                BEST_PEER => best()?,
                name => name.to_owned(),
            };
            let ratios = paired(&of(question.variant), &of(&against));
            (!ratios.is_empty()).then(|| Verdict {
                question: question.text.into(),
                group: question.group.into(),
                workload: question.workload.into(),
                variant: question.variant.into(),
                against,
                ratio: median(&ratios),
                interval: median_interval(&ratios),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::record, workloads};
    use std::collections::BTreeMap;

    #[test]
    fn every_question_names_a_workload_of_its_group() {
        let amount = &workloads::FULL;
        let mut work = BTreeMap::from([
            ("transport", workloads::transport(amount)),
            ("streams", workloads::streams(amount)),
            ("fio", workloads::fio(amount)),
            ("metadata", workloads::metadata(amount)),
            ("peers", workloads::peers(amount)),
            ("ablation", workloads::ablation(amount)),
            ("slow", workloads::transport_brief(amount)),
        ]);
        let shells = crate::workload::command::Shell::all(1);
        let names: Vec<String> = shells.into_iter().map(|shell| shell.name).collect();
        for question in QUESTIONS {
            let known = match question.group {
                "work" => names.iter().any(|name| name == question.workload),
                "busy" => question.workload == "stat on busy CPUs",
                group => work
                    .entry(group)
                    .or_default()
                    .iter()
                    .any(|workload| workload.name() == question.workload),
            };
            assert!(known, "{question:?}");
        }
    }

    #[test]
    fn an_interval_around_one_shows_no_difference() {
        let verdict = |interval| Verdict {
            interval,
            ..verdicts(&record().rows, &[]).remove(0)
        };
        assert_eq!(verdict([1.1, 1.4]).word(), "faster");
        assert_eq!(verdict([0.5, 0.9]).word(), "slower");
        assert_eq!(verdict([0.9, 1.1]).word(), "no difference shown");
        assert_eq!(verdict([1.2, 1.2]).word(), "one repetition");
    }

    #[test]
    fn only_what_was_run_is_answered() {
        let verdicts = verdicts(&record().rows, &[]);
        let asked: Vec<&str> = verdicts.iter().map(|v| v.variant.as_str()).collect();
        assert_eq!(asked, ["shm", "uring", "uring", "shm"]);
        assert!((verdicts[0].ratio - 1.9).abs() < 0.1);
    }
}
