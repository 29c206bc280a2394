//! The table, and the same as JSON.

use super::{Check, Status};
use serde::Serialize;
use std::fmt;

/// What was found on one machine by one user.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of shmfuse.
    pub version: &'static str,
    /// The release of the running kernel, as `uname -r`.
    pub kernel: String,
    /// Who asked; another user may get another report.
    pub user_id: u32,
    /// CPUs that this process may run on.
    pub cpus: usize,
    /// In the order of the table.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether there can be a mount at all.
    pub fn can_mount(&self) -> bool {
        self.checks
            .iter()
            .all(|check| !check.required || check.status == Status::Yes)
    }

    /// As JSON, with `can_mount` beside the fields of this structure.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).expect("strings and numbers are JSON");
        json["can_mount"] = self.can_mount().into();
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.user_id {
            0 => "root".to_owned(),
            id => format!("user {id}"),
        };
        let Self {
            version,
            kernel,
            cpus,
            ..
        } = self;
        writeln!(
            f,
            "shmfuse {version} on Linux {kernel}, {cpus} CPUs, as {who}"
        )?;
        let width = |text: fn(&Check) -> &str| {
            let lengths = self.checks.iter().map(|check| text(check).chars().count());
            lengths.max().unwrap_or_default()
        };
        let name_width = width(|check| &check.name);
        let mut area = "";
        for check in &self.checks {
            if check.area != area {
                area = check.area;
                writeln!(f, "\n{area}")?;
            }
            let mark = match check.status {
                Status::Yes => "yes",
                Status::No => "NO",
                Status::Unknown => "?",
            };
            let line = format!("  {:name_width$}  {mark:<3}  {}", check.name, check.found);
            writeln!(f, "{}", line.trim_end())?;
        }
        let missing = self
            .checks
            .iter()
            .filter(|check| check.status != Status::Yes);
        for (index, check) in missing.enumerate() {
            if index == 0 {
                writeln!(
                    f,
                    "\nWhat is missing, what it would enable, how to turn it on"
                )?;
            }
            writeln!(f, "  {}: {}", check.area, check.name)?;
            writeln!(f, "    enables  {}", check.enables)?;
            writeln!(f, "    turn on  {}", check.remedy)?;
        }
        let verdict = if self.can_mount() {
            "can mount"
        } else {
            "cannot mount"
        };
        writeln!(f, "\nThis user {verdict} with shmfuse on this kernel.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> Report {
        Report {
            version: "1",
            kernel: "6.14".into(),
            user_id: 0,
            cpus: 2,
            checks,
        }
    }

    #[test]
    fn a_missing_thing_is_explained_and_one_that_is_there_is_not() {
        let text = report(vec![
            Check::yes("FUSE", "one", "7.45", "everything"),
            Check::no("BPF", "two", "EPERM", "speed", "be root"),
        ])
        .to_string();
        assert!(text.contains("  one  yes  7.45\n"), "{text}");
        assert!(text.contains("  two  NO   EPERM\n"), "{text}");
        assert!(text.contains("enables  speed\n") && text.contains("turn on  be root\n"));
        assert!(!text.contains("everything"));
    }

    #[test]
    fn only_what_is_required_keeps_from_mounting() {
        let missing = Check::no("BPF", "two", "", "", "");
        assert!(report(vec![missing.clone()]).can_mount());
        let required = report(vec![missing.required()]);
        assert!(!required.can_mount());
        assert_eq!(required.to_json()["can_mount"], false);
        assert_eq!(required.to_json()["checks"][0]["status"], "no");
    }
}
