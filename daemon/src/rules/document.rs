//! A file of rules as it is written, and where in it each thing stands.

use super::transform::TransformTable;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fs, ops::Range, path::Path};
use toml::{Spanned, Value};

/// A file: any number of `[[rule]]` and of `[[transform]]` tables.
#[derive(Clone, Default, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The rules, the first before all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<Spanned<RuleTable>>,
    /// The transformations, the first before all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<Spanned<TransformTable>>,
}

/// One `[[rule]]`: every key as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// What the rule is called; no two are called alike.
    pub name: Spanned<String>,
    /// What it does: `allow`, `deny`, `lane`, `limit` or `count`.
    pub action: Spanned<String>,
    /// Requests by their names, or names of sets of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Spanned<Value>>,
    /// The caller's user: a number, or `"1000-1999"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Spanned<Value>>,
    /// The caller's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<Spanned<Value>>,
    /// The caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<Spanned<Value>>,
    /// Bytes that are asked for: a number, or `"64K-"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Spanned<Value>>,
    /// The inode, by FUSE's number of it; 1 is the root of the mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodeid: Option<Spanned<Value>>,
    /// A directory, by its path from the root of the mount: the inode is it or lies below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtree: Option<Spanned<Value>>,
    /// Names that are looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Spanned<Value>>,
    /// Of `deny` and `limit`: what is refused is refused with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<Spanned<Value>>,
    /// Of `lane`: `normal` or `low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Spanned<Value>>,
    /// Of `limit`: how many pass, as in `"100/s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Spanned<Value>>,
    /// Of `limit`: how many pass at once after a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Spanned<Value>>,
}

/// The text of a file, by whose name errors are told.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// What it is called.
    pub name: &'t str,
    /// What it says.
    pub text: &'t str,
}

impl Source<'_> {
    /// The error that something in this file is wrong: with its line, and what to do about it.
    pub fn error(
        &self,
        at: &Range<usize>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        Error::refused(format!("{}:{line}", self.name), why, remedy)
    }

    /// Takes the file apart. What the values are worth is not looked at.
    ///
    /// # Errors
    ///
    /// If it is not TOML, a table lacks a key that it must have, or has one that nobody knows.
    pub fn parse(&self) -> Result<Document> {
        toml::from_str(self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            let why = error.message().trim().replace('\n', "; ");
            self.error(
                &at,
                why,
                "docs/guide.md, \"Rules\", has what a file may say",
            )
        })
    }
}

impl Document {
    /// The document with the number of each transformation's directory, which `number_of` finds.
    ///
    /// # Errors
    ///
    /// What `number_of` says.
    pub fn with_directories(mut self, number_of: impl Fn(&str) -> Result<u64>) -> Result<Self> {
        for table in &mut self.transform {
            table.get_mut().find_directory(&number_of)?;
        }
        Ok(self)
    }

    /// The document as text again, for who looks at it later.
    ///
    /// # Errors
    ///
    /// If a value cannot be written, which no file that was parsed holds.
    pub fn to_text(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::refused("the rules", error.to_string(), "report this"))
    }
}

/// Reads a file of rules; `-` is standard input.
///
/// # Errors
///
/// What the kernel says, or that it is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| Error::path("cannot read the rules in", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        let source = Source {
            name: "rules.toml",
            text,
        };
        source.parse().unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_a_file_of_rules_is_named_with_its_line() {
        let cases = [
            ("x = 1", "rules.toml:1: unknown field `x`"),
            ("\n[[rule]]\nname = ", "rules.toml:3: "),
            (
                "[[rule]]\nname = 'a'",
                "rules.toml:1: missing field `action`",
            ),
            (
                "[[rule]]\nname = 'a'\naction = 'allow'\nusr = 1",
                "rules.toml:4: unknown field `usr`",
            ),
        ];
        for (text, begins) in cases {
            let error = error_of(text);
            assert!(error.starts_with(begins), "{error}");
            assert!(error.ends_with(')') && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_document_is_the_same_once_it_was_written_and_read() {
        let text = "[[rule]]\nname = \"a\"\naction = \"deny\"\nuid = \"1-2\"\nnames = [\"x\"]\n";
        let source = Source { name: "", text };
        let again = source.parse().unwrap().to_text().unwrap();
        assert_eq!(again, text);
    }
}
