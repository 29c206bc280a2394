//! The questions a run is made to answer, each with the measured ratio and its interval.

use crate::{
    run::Row,
    summary::{interval, median, rate},
};

/// A question that two variants answer on one workload.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// In words.
    pub text: &'static str,
    /// Which workload.
    pub workload: &'static str,
    /// Whose rate.
    pub variant: &'static str,
    /// Over whose.
    pub against: &'static str,
}

/// Every question; one whose variants are not in a run is left out of its report.
pub const QUESTIONS: &[Question] = &[
    Question {
        text: "Does io_uring beat read and write on /dev/fuse, request for request?",
        workload: "stat",
        variant: "uring",
        against: "classic",
    },
    Question {
        text: "Does memory shared with kernel programs beat private memory, request for request?",
        workload: "stat",
        variant: "shm",
        against: "uring",
    },
    Question {
        text: "Does shared memory beat private memory, reading a stream?",
        workload: "read stream 1M",
        variant: "shm",
        against: "uring",
    },
    Question {
        text: "Does splice beat copying, reading a stream?",
        workload: "read stream 1M",
        variant: "splice",
        against: "classic",
    },
    Question {
        text: "Does splice beat copying, writing a stream?",
        workload: "write stream 1M",
        variant: "splice",
        against: "classic",
    },
    Question {
        text: "Does io_uring beat read and write, reading a stream?",
        workload: "read stream 1M",
        variant: "uring",
        against: "classic",
    },
    Question {
        text: "Is kernel passthrough as fast as the lower file system, reading a stream?",
        workload: "read stream 1M",
        variant: "uring+passthrough",
        against: "native",
    },
    Question {
        text: "Is kernel passthrough as fast as the lower file system, writing a stream?",
        workload: "write stream 1M",
        variant: "uring+passthrough",
        against: "native",
    },
    Question {
        text: "When does zero-copy lose? Small files: passthrough against copying.",
        workload: "open+read+close",
        variant: "uring+passthrough",
        against: "uring",
    },
    Question {
        text: "Does passthrough pay for small blocks at random places?",
        workload: "random read 4K",
        variant: "uring+passthrough",
        against: "uring",
    },
];

/// An answered [`Question`].
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What was asked.
    pub question: Question,
    /// Median rate of `variant` over that of `against`.
    pub ratio: f64,
    /// 95 % bootstrap interval of `ratio`.
    pub interval: [f64; 2],
}

impl Verdict {
    /// Yes, no, or that the interval holds 1.
    pub fn word(&self) -> &'static str {
        match self.interval {
            [low, _] if low > 1.0 => "faster",
            [_, high] if high < 1.0 => "slower",
            _ => "no difference shown",
        }
    }
}

/// Answers every question that these rows can answer.
pub fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let rates = |workload: &str, variant: &str| -> Vec<f64> {
        rows.iter()
            .filter(|row| row.workload == workload && row.variant == variant)
            .map(|row| rate(row.measure, &row.figures))
            .collect()
    };
    QUESTIONS
        .iter()
        .filter_map(|&question| {
            let mine = rates(question.workload, question.variant);
            let theirs = rates(question.workload, question.against);
            (!mine.is_empty() && !theirs.is_empty()).then(|| Verdict {
                question,
                ratio: median(&mine) / median(&theirs),
                interval: interval(&mine, &theirs),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::{self, Scale},
        recorder::Figures,
        workload::Measure,
    };

    #[test]
    fn every_question_names_a_workload_and_variants_there_are() {
        let names: Vec<String> = catalogue::workloads(Scale::Full)
            .iter()
            .map(|workload| workload.name())
            .collect();
        for question in QUESTIONS {
            assert!(
                names.iter().any(|name| name == question.workload),
                "{question:?}"
            );
            for variant in [question.variant, question.against] {
                catalogue::variant(variant).unwrap();
            }
        }
    }

    #[test]
    fn an_interval_around_one_shows_no_difference() {
        let verdict = |interval| Verdict {
            question: QUESTIONS[0],
            ratio: 1.0,
            interval,
        };
        assert_eq!(verdict([1.1, 1.4]).word(), "faster");
        assert_eq!(verdict([0.5, 0.9]).word(), "slower");
        assert_eq!(verdict([0.9, 1.1]).word(), "no difference shown");
    }

    #[test]
    fn only_what_was_run_is_answered() {
        let row = |variant: &str, operations| Row {
            workload: "stat".into(),
            measure: Measure::Operations,
            variant: variant.into(),
            repetition: 0,
            figures: Figures {
                wall_ns: 1_000_000_000,
                operations,
                ..Figures::default()
            },
            latency_curve_ns: Vec::new(),
        };
        let verdicts = verdicts(&[row("classic", 100), row("uring", 300)]);
        assert_eq!(verdicts.len(), 1);
        assert!((verdicts[0].ratio - 3.0).abs() < 1e-9);
    }
}
