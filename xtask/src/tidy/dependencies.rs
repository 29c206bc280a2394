//! What the workspace and the kernel programs are made of besides their own source: where it is from, under which
//! licence, and in how many versions. What cargo has on this machine says it; nothing is asked of a network.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use anyhow::Result;

use super::{Finding, files::File};
use crate::{process, workspace::Workspace};

/// The only place that crates come from, as a lock file names it.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences that ask for no more than to be named with the program.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates under another one: none.
const SPARED_LICENCES: &[Spared] = &[];

/// Crates that are there in more than one version.
const SPARED_VERSIONS: &[Spared] = &[Spared {
    name: "syn",
    reason: "runs in macros; some have gone on to version 3",
}];

/// One crate that a rule spares.
struct Spared {
    name: &'static str,
    #[expect(dead_code, reason = "for those who read this file")]
    reason: &'static str,
}

/// A crate that is built: name, version, licence.
type Built = BTreeSet<(String, String, String)>;

/// What is wrong with them.
pub fn check(workspace: &Workspace, files: &[File]) -> Result<Vec<Finding>> {
    let locks = files.iter().filter(|file| file.is("Cargo.lock"));
    let mut findings: Vec<_> = locks.flat_map(sources).collect();
    let mut built = Built::new();
    for manifest in ["Cargo.toml", "ebpf/Cargo.toml"] {
        let mut cargo = workspace.command("cargo");
        cargo.args([
            "tree",
            "--locked",
            "--workspace",
            "--edges",
            "normal,build,dev",
        ]);
        cargo.args(["--prefix", "none", "--format", "{p}|{l}", "--manifest-path"]);
        built.extend(crates(&process::ask(cargo.arg(manifest))?));
    }
    findings.extend(licences(&built));
    findings.extend(versions(&built));
    Ok(findings)
}

fn finding(rule: &'static str, path: &str, text: String) -> Finding {
    Finding {
        rule,
        path: path.to_owned(),
        line: None,
        text,
    }
}

/// The sources in a lock file.
fn sources(lock: &File) -> Vec<Finding> {
    let lines = lock.text.lines();
    let named = lines.filter_map(|line| line.strip_prefix("source = \"")?.strip_suffix('"'));
    let strange: BTreeSet<_> = named.filter(|source| *source != SOURCE).collect();
    let about = |source| finding("source", &lock.path, format!("a crate from {source}"));
    strange.into_iter().map(about).collect()
}

/// The crates in a listing of cargo tree: "name v1.2.3 (more)|licence", once and again.
fn crates(listing: &str) -> Built {
    let parse = |line: &str| {
        let (package, licence) = line.split_once('|')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?);
        let licence = licence.trim_end_matches(" (*)");
        Some((name.to_owned(), version.to_owned(), licence.to_owned()))
    };
    listing.lines().filter_map(parse).collect()
}

fn licences(built: &Built) -> Vec<Finding> {
    let mut strange: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, _, licence) in built {
        if !allows(licence) {
            strange.insert(name, licence);
        }
    }
    unspared("licence", SPARED_LICENCES, &strange)
}

fn versions(built: &Built) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version, _) in built {
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    unspared("versions", SPARED_VERSIONS, &versions)
}

/// Crates with something strange about them that no row spares, and the rows that spare nothing.
fn unspared<T: Debug>(
    rule: &'static str,
    rows: &[Spared],
    strange: &BTreeMap<&str, T>,
) -> Vec<Finding> {
    let mut findings = unused(rule, rows, |name| strange.contains_key(name));
    for (name, what) in strange {
        if rows.iter().all(|spared| spared.name != *name) {
            findings.push(finding(rule, "Cargo.lock", format!("{name}: {what:?}")));
        }
    }
    findings
}

/// The rows that spare nothing.
fn unused(rule: &'static str, rows: &[Spared], is_used: impl Fn(&str) -> bool) -> Vec<Finding> {
    let rows = rows.iter().filter(|spared| !is_used(spared.name));
    let text = |spared: &Spared| format!("nothing to spare in {}", spared.name);
    rows.map(|spared| finding(rule, "xtask/src/tidy/dependencies.rs", text(spared)))
        .collect()
}

/// Whether an expression of SPDX, or of its forerunner with a slash for OR, can be met by [`LICENCES`].
fn allows(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ");
    let spaced = spaced.replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let allowed = any(&mut words);
    allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Alternatives.
fn any(words: &mut Words<'_>) -> bool {
    let mut allowed = all(words);
    while words.next_if_eq(&"OR").is_some() {
        allowed |= all(words);
    }
    allowed
}

/// What has to be met together.
fn all(words: &mut Words<'_>) -> bool {
    let mut allowed = one(words);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words);
    }
    allowed
}

/// A licence, with an exception from it or without; or alternatives in brackets.
fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => any(words) & (words.next() == Some(")")),
        Some(licence) => {
            // An exception gives more rights, never fewer.
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            LICENCES.contains(&licence)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_if_some_way_to_meet_it_is() {
        for allowed in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only/MIT",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only",
        ] {
            assert!(allows(allowed), "{allowed}");
        }
        for refused in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Zlib) AND LGPL-2.1-or-later",
            "MIT Zlib",
        ] {
            assert!(!allows(refused), "{refused}");
        }
    }

    #[test]
    fn a_crate_is_found_in_two_versions_and_under_a_strange_licence() {
        let listing = "a v1.0.0|MIT\na v2.0.0 (proc-macro)|MIT\nb v1.0.0|AGPL-3.0-only\n\nb v1.0.0|AGPL-3.0-only (*)\n";
        let built = crates(listing);
        assert_eq!(built.len(), 3);
        let about = |findings: Vec<Finding>, name: &str| {
            let of = |finding: &&Finding| finding.text.starts_with(name);
            findings.iter().filter(of).count()
        };
        assert_eq!(about(versions(&built), "a: "), 1);
        assert_eq!(about(versions(&built), "b: "), 0);
        assert_eq!(about(licences(&built), "a: "), 0);
        assert_eq!(about(licences(&built), "b: "), 1);
    }

    #[test]
    fn a_source_that_is_not_the_registry_is_found_once() {
        let text = format!(
            "source = \"{SOURCE}\"\nsource = \"git+https://x\"\nsource = \"git+https://x\"\n"
        );
        let lock = File {
            path: "Cargo.lock".to_owned(),
            text,
        };
        assert_eq!(sources(&lock).len(), 1);
    }
}
