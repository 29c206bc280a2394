//! `[[transform]]`: what is shown otherwise than it is below.

use super::{
    document::Source,
    spec::subtree,
    values::{self, Wrong},
};
use crate::{
    error::{Error, Result},
    transform::Rule,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use toml::{Spanned, Value};
use transport::transform::{Collision, HIDEABLE, RANGES, Range, Transform, check};

/// The longest that attributes may be valid, seconds: a day.
const TTL_MAX: f64 = 86400.0;

/// One `[[transform]]`: every key as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TransformTable {
    /// What it is called; no two rules or transformations are called alike.
    pub name: Spanned<String>,
    /// A directory, by its path from the root of the mount: what it does is done to it and below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtree: Option<Spanned<Value>>,
    /// The number that users see of that directory: written by whoever puts the table into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<u64>,
    /// Users: `[{ below = 100000, shown = 0, count = 65536 }]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Spanned<Value>>,
    /// Groups, in the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<Spanned<Value>>,
    /// Mode bits that are shown as 0: `"077"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hide: Option<Spanned<Value>>,
    /// How long attributes are valid, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attr_ttl: Option<Spanned<Value>>,
}

impl TransformTable {
    /// Writes down the number of its directory, which `number_of` finds.
    ///
    /// # Errors
    ///
    /// What `number_of` says.
    pub(super) fn find_directory(&mut self, number_of: impl Fn(&str) -> Result<u64>) -> Result<()> {
        let path = self.subtree.as_ref().map(|value| subtree(value.get_ref()));
        // What is no path was refused before.
        if let Some(Ok(path)) = path {
            self.directory = Some(number_of(&path)?);
        }
        Ok(())
    }
}

/// One transformation.
#[derive(Clone, PartialEq, Debug)]
pub struct TransformSpec {
    /// What it is called.
    pub name: String,
    /// A directory below the root of the mount; `None`: everywhere.
    pub subtree: Option<String>,
    /// The number of that directory, if it is in force.
    pub directory: Option<u64>,
    /// What it does.
    pub transform: Transform,
}

impl TransformSpec {
    /// Checks what a table says.
    ///
    /// # Errors
    ///
    /// What is wrong with it first, with its line and what to do about it.
    pub fn check(source: Source<'_>, table: &TransformTable) -> Result<Self> {
        let name = table.name.get_ref();
        let mut transform = Transform::default();
        let mut says = false;
        let keys = [("uid", &table.uid), ("gid", &table.gid)];
        for (to, (key, value)) in [&mut transform.uid, &mut transform.gid]
            .into_iter()
            .zip(keys)
        {
            if let Some(ranges) = read(source, name, key, value.as_ref(), ranges)? {
                to[..ranges.len()].copy_from_slice(&ranges);
                says = true;
            }
        }
        if let Some(hidden) = read(source, name, "hide", table.hide.as_ref(), hide)? {
            transform.hidden = hidden;
            says = true;
        }
        if let Some(ttl) = read(source, name, "attr_ttl", table.attr_ttl.as_ref(), seconds)? {
            transform.has_validity = 1;
            (transform.valid, transform.valid_nsec) = (ttl.as_secs(), ttl.subsec_nanos());
            says = true;
        }
        if !says {
            let why = format!("transformation '{name}' does nothing");
            let remedy = "add uid, gid, hide or attr_ttl";
            return Err(source.error(&table.name.span(), why, remedy));
        }
        Ok(Self {
            name: name.clone(),
            subtree: read(source, name, "subtree", table.subtree.as_ref(), subtree)?,
            directory: table.directory,
            transform,
        })
    }

    /// As the file system goes by it.
    pub fn rule(&self) -> Rule {
        Rule {
            subtree: self.directory,
            transform: self.transform,
        }
    }
}

fn read<T>(
    source: Source<'_>,
    name: &str,
    key: &str,
    value: Option<&Spanned<Value>>,
    read: impl FnOnce(&Value) -> Result<T, Wrong>,
) -> Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |(why, remedy): Wrong| -> Error {
        let why = format!("transformation '{name}', {key}: {why}");
        source.error(&value.span(), why, remedy)
    };
    read(value.get_ref()).map(Some).map_err(wrong)
}

/// Ranges of users or groups.
fn ranges(value: &Value) -> Result<Vec<Range>, Wrong> {
    let form = || "write [{ below = 100000, shown = 0, count = 65536 }]".to_owned();
    let Value::Array(values) = value else {
        return Err(("this is no list of ranges".into(), form()));
    };
    if values.len() > RANGES {
        let why = format!("{} ranges, of which {RANGES} fit", values.len());
        return Err((why, "take ranges that follow each other together".into()));
    }
    let range = |value: &Value| {
        let table = value.as_table().filter(|table| table.len() == 3);
        let number = |key: &str, min| {
            let number = table.and_then(|table| table.get(key));
            let Some(number) = number else {
                let why = "a range has 'below', 'shown' and 'count', and nothing else";
                return Err((why.to_owned(), form()));
            };
            let (why, remedy) = match values::number(number, min, u64::from(u32::MAX)) {
                Ok(number) => return Ok(number as u32),
                Err(wrong) => wrong,
            };
            Err((format!("{key}: {why}"), remedy))
        };
        Ok(Range {
            below: number("below", 0)?,
            shown: number("shown", 0)?,
            count: number("count", 1)?,
            padding: 0,
        })
    };
    let ranges: Vec<_> = values.iter().map(range).collect::<Result<_, Wrong>>()?;
    let both = |one: usize, other: usize, side| {
        let why = format!(
            "ranges {} and {} have an id {side} in common",
            one + 1,
            other + 1
        );
        Err((why, "give each id one place on each side".to_owned()))
    };
    match check(&ranges) {
        Ok(()) => Ok(ranges),
        Err(Collision::Extent(at)) => {
            let why = format!("range {} leads beyond the last id, 4294967294", at + 1);
            Err((why, "lower its count".into()))
        }
        Err(Collision::Below(one, other)) => both(one, other, "below"),
        Err(Collision::Shown(one, other)) => both(one, other, "shown"),
    }
}

/// Mode bits, in octal.
fn hide(value: &Value) -> Result<u32, Wrong> {
    let digits = values::string(value)?;
    let bits = u32::from_str_radix(digits.trim_start_matches("0o"), 8);
    bits.ok()
        .filter(|bits| bits & !HIDEABLE == 0 && *bits != 0)
        .ok_or_else(|| {
            let why = format!("'{digits}' is no set of permission bits");
            (why, "write them in octal, \"001\" to \"777\"".into())
        })
}

/// Seconds, with a fraction or without.
fn seconds(value: &Value) -> Result<Duration, Wrong> {
    let seconds = match value {
        Value::Integer(seconds) => *seconds as f64,
        Value::Float(seconds) => *seconds,
        _ => f64::NAN,
    };
    if (0.0..=TTL_MAX).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    let why = format!("{value} is no number of seconds");
    Err((why, format!("write a number from 0 to {TTL_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::super::spec::Spec;

    fn parse(text: &str) -> Result<Vec<super::TransformSpec>, String> {
        let source = super::Source {
            name: "rules.toml",
            text,
        };
        let spec = Spec::parse(source).map_err(|error| error.to_string())?;
        Ok(spec.transforms)
    }

    #[test]
    fn everything_that_can_be_said_is_read() {
        let text = "[[transform]]\nname = 'container'\nsubtree = '/srv/box/'\n\
            uid = [{ below = 100000, shown = 0, count = 65536 }]\n\
            gid = [{ below = 0, shown = 7, count = 1 }, { below = 7, shown = 0, count = 1 }]\n\
            hide = '077'\nattr_ttl = 0.5\n";
        let [container] = &parse(text).unwrap()[..] else {
            panic!("one transformation");
        };
        assert_eq!(container.subtree.as_deref(), Some("srv/box"));
        let transform = &container.transform;
        assert_eq!(transform.uid[0].count, 65536);
        assert_eq!(transform.gid[1].shown, 0);
        assert_eq!(
            (transform.hidden, transform.valid_nsec),
            (0o77, 500_000_000)
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_a_remedy() {
        let collision =
            "uid = [{ below = 5, shown = 0, count = 9 }, { below = 50, shown = 8, count = 1 }]";
        let cases = [
            (collision, "ranges 1 and 2 have an id shown in common"),
            (
                "uid = [{ below = 5, shown = 4294967295, count = 1 }]",
                "beyond the last id",
            ),
            (
                "gid = [{ below = 5, shown = 1 }]",
                "a range has 'below', 'shown' and 'count'",
            ),
            ("gid = 5", "no list of ranges"),
            ("hide = '7777'", "no set of permission bits"),
            ("hide = '000'", "no set of permission bits"),
            ("attr_ttl = -1", "no number of seconds"),
            ("attr_ttl = 'x'", "no number of seconds"),
        ];
        for (line, why) in cases {
            let error = parse(&format!("[[transform]]\nname = 'a'\n{line}\n")).unwrap_err();
            assert!(
                error.starts_with("rules.toml:3: ") && error.contains(why),
                "{error}"
            );
        }
        let error = parse("[[transform]]\nname = 'a'\n").unwrap_err();
        assert!(error.contains("does nothing"), "{error}");
        let twice = "[[transform]]\nname = 'a'\nhide = '1'\n".repeat(2);
        assert!(parse(&twice).is_err());
    }
}
