//! One line of the report.

use serde::Serialize;

/// Whether something is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is, and works.
    Yes,
    /// It is not.
    No,
    /// This user cannot find out.
    Unknown,
}

/// One thing that was examined.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What it belongs to: a heading of the table.
    pub area: &'static str,
    /// What was examined.
    pub name: String,
    /// Whether it is there.
    pub status: Status,
    /// What was found: a version, a value, an error.
    pub found: String,
    /// What it is good for.
    pub enables: String,
    /// How to turn it on; empty if it is there.
    pub remedy: String,
    /// Whether there is no mount at all without it.
    pub required: bool,
}

impl Check {
    /// Something that is there.
    pub fn yes(
        area: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
        enables: impl Into<String>,
    ) -> Self {
        Self {
            area,
            name: name.into(),
            status: Status::Yes,
            found: found.into(),
            enables: enables.into(),
            remedy: String::new(),
            required: false,
        }
    }

    /// Something that is missing, with what to do about it.
    pub fn no(
        area: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
        enables: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::No,
            remedy: remedy.into(),
            ..Self::yes(area, name, found, enables)
        }
    }

    /// The same, but nobody knows whether it is missing.
    #[must_use]
    pub fn unknown(self) -> Self {
        Self {
            status: Status::Unknown,
            ..self
        }
    }

    /// The same, but there is no mount without it.
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// By the outcome of a trial: what was found, or the error.
    pub fn tried<T: Into<String>, E: Into<String>>(
        area: &'static str,
        name: impl Into<String>,
        outcome: Result<T, E>,
        enables: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        match outcome {
            Ok(found) => Self::yes(area, name, found, enables),
            Err(error) => Self::no(area, name, error, enables, remedy),
        }
    }
}
