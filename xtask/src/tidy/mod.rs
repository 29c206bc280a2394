//! `cargo xtask tidy`: the house rules that no other tool checks.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`files`] | the files that the rules are about: those that git tracks, or would |
//! | [`rules`] | the rules, one function each |
//! | [`dependencies`] | crates of others: their source, licence, versions |
//! | [`exceptions`] | the files that a rule spares, each with its reason |

mod dependencies;
mod exceptions;
mod files;
mod rules;

use std::{fmt, process::ExitCode};

use anyhow::Result;

use self::exceptions::EXCEPTIONS;
use crate::workspace::Workspace;

/// Check the house rules that no other tool checks
#[derive(clap::Args)]
pub struct Args {}

/// Something that a rule forbids.
pub struct Finding {
    rule: &'static str,
    path: String,
    /// Counted from 1; `None` if it is about the file as a whole.
    line: Option<usize>,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            path,
            line,
            text,
        } = self;
        match line {
            Some(line) => write!(f, "{path}:{line}: {text} [{rule}]"),
            None => write!(f, "{path}: {text} [{rule}]"),
        }
    }
}

/// Prints what the rules find.
pub fn run(workspace: &Workspace, _: &Args) -> Result<ExitCode> {
    let files = files::read(workspace)?;
    let mut findings: Vec<_> = files
        .iter()
        .flat_map(|file| rules::about_a_file(workspace, file))
        .collect();
    findings.extend(rules::about_the_tree(&files));
    findings.extend(dependencies::check(workspace, &files)?);

    let mut unused: Vec<_> = EXCEPTIONS.iter().collect();
    findings.retain(|finding| {
        let spared = EXCEPTIONS
            .iter()
            .position(|e| e.rule == finding.rule && e.path == finding.path);
        if let Some(index) = spared {
            unused.retain(|e| !std::ptr::eq(*e, &EXCEPTIONS[index]));
        }
        spared.is_none()
    });
    for exception in &unused {
        println!(
            "xtask/src/tidy/exceptions.rs: nothing to spare in {} [{}]",
            exception.path, exception.rule
        );
    }
    findings.iter().for_each(|finding| println!("{finding}"));
    let count = findings.len() + unused.len();
    if count > 0 {
        println!("tidy: {count} findings in {} files", files.len());
        return Ok(ExitCode::FAILURE);
    }
    println!("tidy: {} files", files.len());
    Ok(ExitCode::SUCCESS)
}
