//! A file of rules that has been checked.

use super::{
    document::{Document, RuleTable, Source},
    transform::TransformSpec,
    values::{self, Wrong},
};
use crate::{
    error::{Error, Result},
    transform,
};
use std::{collections::HashSet, ops::Range, path::Path};
use toml::{Spanned, Value};
use transport::{
    rules::{Action, Priority, RULES_MAX, rule::Span},
    wire::Opcode,
};

/// Longest name of a rule in bytes.
const NAME_MAX: usize = 48;
/// Tokens of a bucket at most: some seconds of the fastest rate.
const BURST_MAX: u64 = 1_000_000_000;

/// What a file says, checked, and its text.
#[derive(Clone, Default, Debug)]
pub struct Spec {
    /// The rules, the first before all others.
    pub rules: Vec<RuleSpec>,
    /// The transformations, the first before all others.
    pub transforms: Vec<TransformSpec>,
    /// The file as it was taken apart.
    pub document: Document,
}

/// One rule.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleSpec {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// The requests it is about, as rows of a table.
    pub rows: u64,
    /// The caller's user.
    pub uid: Span,
    /// The caller's group.
    pub gid: Span,
    /// The caller.
    pub pid: Span,
    /// Bytes that are asked for.
    pub size: Span,
    /// The inode, or 0.
    pub nodeid: u64,
    /// A directory below the root of the mount.
    pub subtree: Option<String>,
    /// Names that are looked up.
    pub names: Vec<String>,
    /// Of a limit: nanoseconds in which one passes, and how many pass at once.
    pub limit: (u64, u64),
}

impl Spec {
    /// Checks what a file says.
    ///
    /// # Errors
    ///
    /// What is wrong with it first, with its line and what to do about it.
    pub fn parse(source: Source<'_>) -> Result<Self> {
        Self::check(source, source.parse()?)
    }

    /// Reads a file and checks what it says; `-` is standard input.
    ///
    /// # Errors
    ///
    /// If it cannot be read, and as [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self> {
        let text = super::document::read(path)?;
        let name = match path.as_os_str() {
            stdin if stdin == "-" => "standard input".into(),
            _ => path.display().to_string(),
        };
        Self::parse(Source {
            name: &name,
            text: &text,
        })
    }

    fn check(source: Source<'_>, document: Document) -> Result<Self> {
        let mut rules = Vec::with_capacity(document.rule.len());
        let mut names = HashSet::new();
        for table in &document.rule {
            let rule = check_rule(source, table.span(), table.get_ref())?;
            if !names.insert(rule.name.clone()) {
                let why = format!("there are two rules called '{}'", rule.name);
                let at = table.get_ref().name.span();
                return Err(source.error(&at, why, "give each a name of its own"));
            }
            if rules.len() == RULES_MAX {
                let why = format!("more than {RULES_MAX} rules");
                let remedy = "let one rule be about several requests, names or a range of users";
                return Err(source.error(&table.span(), why, remedy));
            }
            rules.push(rule);
        }
        let mut transforms = Vec::with_capacity(document.transform.len());
        for table in &document.transform {
            let name = &table.get_ref().name;
            check_name(source, name)?;
            if !names.insert(name.get_ref().clone()) {
                let why = format!("there are two of the name '{}'", name.get_ref());
                return Err(source.error(&name.span(), why, "give each a name of its own"));
            }
            if transforms.len() == transform::RULES_MAX {
                let why = format!("more than {} transformations", transform::RULES_MAX);
                let remedy = "let one be about a larger subtree, or several ranges";
                return Err(source.error(&table.span(), why, remedy));
            }
            transforms.push(TransformSpec::check(source, table.get_ref())?);
        }
        Ok(Self {
            rules,
            transforms,
            document,
        })
    }

    /// These rules, and behind them those of another file.
    ///
    /// # Errors
    ///
    /// If two are called alike then, or there are too many.
    pub fn and(self, other: Self, name: &str) -> Result<Self> {
        let mut document = self.document;
        document.rule.extend(other.document.rule);
        document.transform.extend(other.document.transform);
        Self::of_document(document, name)
    }

    /// These rules but for the one of this name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn without(self, rule: &str) -> Result<Self> {
        let mut document = self.document;
        let before = document.rule.len() + document.transform.len();
        document
            .rule
            .retain(|table| table.get_ref().name.get_ref() != rule);
        document
            .transform
            .retain(|table| table.get_ref().name.get_ref() != rule);
        if document.rule.len() + document.transform.len() == before {
            let remedy = "'shmfuse rules MOUNTPOINT list' names those that are";
            return Err(Error::refused(
                rule,
                "there is no rule of this name",
                remedy,
            ));
        }
        Self::of_document(document, "the rules in force")
    }

    fn of_document(document: Document, name: &str) -> Result<Self> {
        let text = document.to_text()?;
        Self::parse(Source { name, text: &text })
    }
}

/// A key with its place in the file, for errors.
struct Key<'d> {
    source: Source<'d>,
    rule: &'d str,
}

impl Key<'_> {
    fn wrong(&self, key: &str, at: &Range<usize>, (why, remedy): Wrong) -> Error {
        let why = format!("rule '{}', {key}: {why}", self.rule);
        self.source.error(at, why, remedy)
    }

    fn read<T>(
        &self,
        key: &str,
        value: Option<&Spanned<Value>>,
        read: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Result<Option<T>> {
        value
            .map(|value| {
                read(value.get_ref()).map_err(|wrong| self.wrong(key, &value.span(), wrong))
            })
            .transpose()
    }

    fn refuse(&self, key: &str, value: Option<&Spanned<Value>>, of: &str) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        let why = format!("only rules with action = {of} have it");
        Err(self.wrong(key, &value.span(), (why, "leave it out".into())))
    }
}

fn check_name(source: Source<'_>, name: &Spanned<String>) -> Result<()> {
    let text = name.get_ref();
    if text.is_empty() || text.len() > NAME_MAX || text.contains(|c: char| c.is_control()) {
        let why = format!("a rule's name has 1 to {NAME_MAX} bytes and no control characters");
        return Err(source.error(&name.span(), why, "choose another name"));
    }
    Ok(())
}

fn check_rule(source: Source<'_>, at: Range<usize>, table: &RuleTable) -> Result<RuleSpec> {
    let name = table.name.get_ref();
    let key = Key { source, rule: name };
    check_name(source, &table.name)?;
    let span = |name, value: &Option<Spanned<Value>>| {
        let read = key.read(name, value.as_ref(), values::span)?;
        Ok::<_, Error>(read.unwrap_or(Span::ANY))
    };
    let names = key.read("names", table.names.as_ref(), values::names)?;
    let (action, limit) = check_action(&key, table)?;
    let lookup = 1 << Opcode::LOOKUP.0;
    let rows = key.read("requests", table.requests.as_ref(), values::requests)?;
    let rows = match (rows, &names) {
        (Some(rows), Some(_)) if rows != lookup => {
            let at = table.requests.as_ref().map_or(at, Spanned::span);
            let why =
                "a rule with names is about LOOKUP alone: what is refused there comes no further";
            let remedy = "leave 'requests' out, or 'names'";
            return Err(key.wrong("requests", &at, (why.into(), remedy.into())));
        }
        (_, Some(_)) => lookup,
        (rows, None) => rows.unwrap_or_else(values::every_request),
    };
    Ok(RuleSpec {
        name: name.clone(),
        action,
        rows,
        uid: span("uid", &table.uid)?,
        gid: span("gid", &table.gid)?,
        pid: span("pid", &table.pid)?,
        size: key
            .read("size", table.size.as_ref(), values::sizes)?
            .unwrap_or(Span::ANY),
        nodeid: key
            .read("nodeid", table.nodeid.as_ref(), |value| {
                values::number(value, 1, i64::MAX as u64)
            })?
            .unwrap_or(0),
        subtree: key.read("subtree", table.subtree.as_ref(), subtree)?,
        names: names.unwrap_or_default(),
        limit,
    })
}

/// What a rule does, with the keys that go with it and no others.
fn check_action(key: &Key<'_>, table: &RuleTable) -> Result<(Action, (u64, u64))> {
    let [errno, priority, rate, burst] =
        [&table.errno, &table.priority, &table.rate, &table.burst].map(Option::as_ref);
    let name = table.action.get_ref().as_str();
    if !matches!(name, "deny" | "limit") {
        key.refuse("errno", errno, "\"deny\" or \"limit\"")?;
    }
    if name != "lane" {
        key.refuse("priority", priority, "\"lane\"")?;
    }
    if name != "limit" {
        key.refuse("rate", rate, "\"limit\"")?;
        key.refuse("burst", burst, "\"limit\"")?;
    }
    let errno = key.read("errno", errno, values::errno)?;
    let action = match name {
        "allow" => Action::Allow,
        "count" => Action::Count,
        "deny" => Action::Deny(errno.unwrap_or(libc::EACCES as u16)),
        "lane" => Action::Lane(
            key.read("priority", priority, self::priority)?
                .unwrap_or(Priority::Normal),
        ),
        "limit" => {
            let Some(interval) = key.read("rate", rate, values::rate)? else {
                let why = ("it lets no rate pass".into(), "add rate = \"100/s\"".into());
                return Err(key.wrong("rate", &table.action.span(), why));
            };
            let burst = key.read("burst", burst, |value| values::number(value, 1, BURST_MAX))?;
            let limit = (interval, burst.unwrap_or(1));
            return Ok((Action::Limit(errno.unwrap_or(libc::EBUSY as u16)), limit));
        }
        _ => {
            let why = format!("'{name}' is no action");
            let remedy = "allow, deny, lane, limit or count".to_owned();
            return Err(key.wrong("action", &table.action.span(), (why, remedy)));
        }
    };
    Ok((action, (0, 0)))
}

fn priority(value: &Value) -> Result<Priority, Wrong> {
    match values::string(value)? {
        "normal" => Ok(Priority::Normal),
        "low" => Ok(Priority::Low),
        other => Err((format!("'{other}' is no priority"), "normal or low".into())),
    }
}

/// A path from the root of the mount, each step a name. Without slashes at the ends; empty: the root.
pub fn subtree(value: &Value) -> Result<String, Wrong> {
    let path = values::string(value)?.trim_matches('/');
    let is_step = |step: &str| !matches!(step, "" | "." | "..") && !step.contains('\0');
    if path.is_empty() || path.split('/').all(is_step) {
        return Ok(path.to_owned());
    }
    let why = format!("'{path}' is not a path of plain names");
    Err((
        why,
        "write it from the root of the mount, without . and ..".into(),
    ))
}
