//! How many tests ran, read off what test runners print.

use std::ops::AddAssign;

/// Tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Did not run.
    pub skipped: u64,
    /// Of those that held: not at the first attempt.
    pub flaky: u64,
}

impl Counts {
    /// Tests that ran.
    pub fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// What a line of output tells, if it is the closing line of a runner: libtest's, nextest's, or a
    /// plain `N passed, N failed, N skipped`.
    pub fn in_line(line: &str) -> Option<Self> {
        // Within what nextest shows of a test that failed the line is indented, and was counted.
        if let Some(results) = line.strip_prefix("test result: ") {
            let (_, results) = results.split_once(". ")?;
            return Self::in_list(results.split(';'));
        }
        let line = line.trim();
        if line.starts_with("Summary [") {
            let (_, results) = line.split_once(" run: ")?;
            return Self::in_list(results.split(','));
        }
        let plain = |part: &str| {
            let mut words = part.split_whitespace();
            words
                .next()
                .is_some_and(|number| number.parse::<u64>().is_ok())
                && words
                    .next()
                    .is_some_and(|word| ["passed", "failed", "skipped"].contains(&word))
                && words.next().is_none()
        };
        let parts = || line.split(", ");
        (parts().count() >= 2 && parts().all(plain)).then(|| Self::in_list(parts()))?
    }

    /// From parts like `7 passed`, `2 passed (1 slow)`, `9 passed (1 slow, 2 flaky)`, `1 timed out`.
    fn in_list<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut counts = Self::default();
        for part in parts {
            let part = part.trim().trim_end_matches(')');
            if let Some((number, "flaky")) = part
                .rsplit('(')
                .next()
                .and_then(|last| last.split_once(' '))
            {
                counts.flaky += number.parse::<u64>().unwrap_or(0);
            }
            let Some((number, outcome)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            if outcome.starts_with("passed") {
                counts.passed += number;
            } else if ["failed", "timed out", "exec failed"]
                .iter()
                .any(|bad| outcome.starts_with(bad))
            {
                counts.failed += number;
            } else if outcome.starts_with("ignored") || outcome.starts_with("skipped") {
                counts.skipped += number;
            }
        }
        Some(counts)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.flaky += other.flaky;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts {
            passed,
            failed,
            skipped,
            flaky: 0,
        })
    }

    #[test]
    fn the_closing_lines_of_each_runner_are_read() {
        for (line, expected) in [
            (
                "test result: ok. 7 passed; 0 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.01s",
                counts(7, 0, 2),
            ),
            (
                "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
                counts(1, 3, 0),
            ),
            (
                "     Summary [   0.5s] 10 tests run: 10 passed, 2 skipped",
                counts(10, 0, 2),
            ),
            (
                "     Summary [   9.1s] 9 tests run: 5 passed (1 slow), 3 failed, 1 timed out, 4 skipped",
                counts(5, 4, 4),
            ),
            ("12 passed, 1 failed", counts(12, 1, 0)),
            ("12 passed, 0 failed, 3 skipped", counts(12, 0, 3)),
        ] {
            assert_eq!(Counts::in_line(line), expected, "{line}");
        }
    }

    #[test]
    fn tests_that_held_at_the_second_attempt_are_counted() {
        for (line, flaky) in [
            (
                "     Summary [   0.5s] 10 tests run: 10 passed (1 flaky), 2 skipped",
                1,
            ),
            (
                "     Summary [   0.5s] 10 tests run: 10 passed (1 slow, 2 flaky), 2 skipped",
                2,
            ),
            (
                "     Summary [   0.5s] 10 tests run: 10 passed (3 slow), 2 skipped",
                0,
            ),
        ] {
            let expected = counts(10, 0, 2).map(|counts| Counts { flaky, ..counts });
            assert_eq!(Counts::in_line(line), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_tell_nothing() {
        for line in [
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 70 filtered out; finished in 0.72s",
            "",
            "running 7 tests",
            "7 passed",
            "2 files, 3 failed",
            "test a ... ok",
            "1 passed, some failed",
        ] {
            assert_eq!(Counts::in_line(line), None, "{line}");
        }
    }
}
