//! The rules, one function each.

use super::{Finding, files::File};
use crate::workspace::Workspace;

/// Lines in a source file: one noun a file.
const LINES_MAX: usize = 450;

/// Lines in a source file for which there is no exception.
const LINES_HARD_MAX: usize = 600;

/// Lines between `SAFETY:` and what it is about: the statement may begin some lines before the
/// `unsafe`.
const SAFETY_DISTANCE: usize = 12;

/// The changelog, which a user reads before an update.
const CHANGELOG: &str = "CHANGELOG.md";

/// What is wrong in one file.
pub fn about_a_file(workspace: &Workspace, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |rule, line: Option<usize>, text: String| {
        let path = file.path.clone();
        findings.push(Finding {
            rule,
            path,
            line,
            text,
        });
    };
    no_path_of_a_machine(workspace, file, &mut find);
    if file.is(".rs") {
        not_too_long(file, &mut find);
        says_what_it_is(file, &mut find);
        unsafe_is_proved(file, &mut find);
        nothing_left_to_do(file, &mut find);
        no_time_of_day(file, &mut find);
    }
    findings
}

/// What is wrong with the tree as a whole.
pub fn about_the_tree(files: &[File]) -> Vec<Finding> {
    if files
        .iter()
        .any(|file| file.path == CHANGELOG && !file.text.trim().is_empty())
    {
        return Vec::new();
    }
    vec![Finding {
        rule: "changelog",
        path: CHANGELOG.to_owned(),
        line: None,
        text: "is missing".to_owned(),
    }]
}

type Find<'a> = &'a mut dyn FnMut(&'static str, Option<usize>, String);

fn not_too_long(file: &File, find: Find<'_>) {
    let lines = file.text.lines().count();
    if lines > LINES_HARD_MAX {
        find(
            "length-hard",
            None,
            format!("{lines} lines, {LINES_HARD_MAX} at most: look for the seam"),
        );
    } else if lines > LINES_MAX {
        find(
            "length",
            None,
            format!("{lines} lines, {LINES_MAX} at most: look for the seam"),
        );
    }
}

fn says_what_it_is(file: &File, find: Find<'_>) {
    let first = file.text.lines().next().unwrap_or_default();
    if !first.starts_with("//! ") {
        find(
            "header",
            Some(1),
            "does not begin with a `//!` that says what it is".to_owned(),
        );
    }
}

fn unsafe_is_proved(file: &File, find: Find<'_>) {
    let lines: Vec<_> = file.text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !["unsafe {", "unsafe impl"]
            .iter()
            .any(|word| holds_word(code, word))
        {
            continue;
        }
        let first = index.saturating_sub(SAFETY_DISTANCE);
        let before = lines[first..index]
            .iter()
            .rev()
            .take_while(|line| !line.trim().is_empty());
        if !before
            .chain([line])
            .any(|line| line.contains("// SAFETY: "))
        {
            find(
                "safety",
                Some(index + 1),
                "unsafe without a `// SAFETY: ` before it".to_owned(),
            );
        }
    }
}

fn no_path_of_a_machine(workspace: &Workspace, file: &File, find: Find<'_>) {
    let root = format!("{}/", workspace.root().display());
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), &root];
    for (index, line) in file.text.lines().enumerate() {
        if let Some(home) = homes.iter().find(|home| line.contains(**home)) {
            find(
                "machine-path",
                Some(index + 1),
                format!("a path of one machine: {home}..."),
            );
        }
    }
}

fn nothing_left_to_do(file: &File, find: Find<'_>) {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    for (index, line) in file.text.lines().enumerate() {
        if let Some(mark) = marks.iter().find(|mark| holds_word(line, mark)) {
            find(
                "to-do",
                Some(index + 1),
                format!("a {mark}: do it, or say what holds now"),
            );
        }
    }
}

/// What serves a mount measures by the monotonic clock: somebody may set that of the day, forward and back.
fn no_time_of_day(file: &File, find: Find<'_>) {
    let serves = ["daemon/src/", "transport/src/", "ebpf/src/"];
    if !serves.iter().any(|place| file.path.starts_with(place)) {
        return;
    }
    for (index, line) in file.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let clocks = [
            "SystemTime",
            "Realtime",
            "CLOCK_REALTIME",
            "ktime_get_real_ns",
        ];
        if let Some(clock) = clocks.iter().find(|clock| holds_word(code, clock)) {
            find(
                "time-of-day",
                Some(index + 1),
                format!("{clock}: measure by the monotonic clock"),
            );
        }
    }
}

/// Whether `word` stands in `line` with no letter, digit or quotation mark around it.
fn holds_word(line: &str, word: &str) -> bool {
    let parts_word = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(parts_word)
            && !line[at + word.len()..]
                .chars()
                .next()
                .is_some_and(parts_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_broken_by(text: &str) -> Vec<&'static str> {
        let file = File {
            path: "some.rs".to_owned(),
            text: text.to_owned(),
        };
        let findings = about_a_file(&Workspace::here(), &file);
        findings.iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_proper_file_breaks_no_rule() {
        let text = "//! A file.\n\n// SAFETY: proved.\nlet x = f(\n    unsafe { g() });\n";
        assert!(rules_broken_by(text).is_empty());
    }

    #[test]
    fn each_rule_finds_what_it_forbids() {
        assert_eq!(rules_broken_by("fn f() {}"), ["header"]);
        assert_eq!(
            rules_broken_by("//! A file.\nlet x = unsafe { g() };"),
            ["safety"]
        );
        assert_eq!(
            rules_broken_by("//! A file.\n// SAFETY: of another.\n\nunsafe impl A for B {}"),
            ["safety"]
        );
        assert_eq!(
            rules_broken_by(concat!("//! A file.\n// TO", "DO: more")),
            ["to-do"]
        );
        assert_eq!(
            rules_broken_by(concat!("//! See /ho", "me/someone/file.")),
            ["machine-path"]
        );
        assert_eq!(rules_broken_by(&"//! A line.\n".repeat(LINES_MAX)), [""; 0]);
        assert_eq!(
            rules_broken_by(&"//! A line.\n".repeat(LINES_MAX + 1)),
            ["length"]
        );
        assert_eq!(
            rules_broken_by(&"//! A line.\n".repeat(LINES_HARD_MAX + 1)),
            ["length-hard"]
        );
    }

    #[test]
    fn what_serves_measures_by_no_clock_that_is_set() {
        let file = |path: &str| File {
            path: path.to_owned(),
            text: "//! A file.\nlet now = SystemTime::now();\n".to_owned(),
        };
        let here = Workspace::here();
        let findings = about_a_file(&here, &file("daemon/src/some.rs"));
        assert_eq!(findings[0].rule, "time-of-day");
        assert!(about_a_file(&here, &file("xtask/src/some.rs")).is_empty());
    }

    #[test]
    fn a_changelog_must_be_there_and_say_something() {
        let changelog = |text: &str| File {
            path: CHANGELOG.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(about_the_tree(&[]).len(), 1);
        assert_eq!(about_the_tree(&[changelog("\n")]).len(), 1);
        assert!(about_the_tree(&[changelog("# Changes")]).is_empty());
    }
}
