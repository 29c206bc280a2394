//! What the keys of a rule may say.

use crate::cli::values as cli;
use toml::Value;
use transport::{
    rules::{
        judge::{NEVER_RULED, OPEN_FOR_WRITING},
        rule::Span,
    },
    wire::Opcode,
};

/// What is wrong with a value, and what to do about it.
pub type Wrong = (String, String);

fn wrong<T>(why: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err((why.into(), remedy.into()))
}

/// Names of sets of requests, and what is in them.
const SETS: [(&str, &[Opcode]); 3] = [
    (
        "changes",
        &[
            Opcode::SETATTR,
            Opcode::SYMLINK,
            Opcode::MKNOD,
            Opcode::MKDIR,
            Opcode::UNLINK,
            Opcode::RMDIR,
            Opcode::RENAME,
            Opcode::RENAME2,
            Opcode::LINK,
            Opcode::WRITE,
            Opcode::SETXATTR,
            Opcode::REMOVEXATTR,
            Opcode::CREATE,
            Opcode::TMPFILE,
            Opcode::FALLOCATE,
            Opcode::COPY_FILE_RANGE,
            Opcode::COPY_FILE_RANGE_64,
            Opcode::IOCTL,
        ],
    ),
    (
        "data",
        &[
            Opcode::READ,
            Opcode::WRITE,
            Opcode::FALLOCATE,
            Opcode::COPY_FILE_RANGE,
            Opcode::COPY_FILE_RANGE_64,
            Opcode::FSYNC,
        ],
    ),
    (
        "listing",
        &[Opcode::OPENDIR, Opcode::READDIR, Opcode::READDIRPLUS],
    ),
];

/// Every request that a rule may be about.
pub fn every_request() -> u64 {
    let all = Opcode::ALL.iter().map(|opcode| 1u64 << opcode.0);
    all.sum::<u64>() & !NEVER_RULED | 1 << OPEN_FOR_WRITING
}

/// Requests, by name or set: the rows of a table in which the rule stands, as bits.
///
/// # Errors
///
/// What is wrong with the value.
pub fn requests(value: &Value) -> Result<u64, Wrong> {
    let mut rows = 0;
    for name in strings(value)? {
        rows |= request(name)?;
    }
    match rows {
        0 => wrong("no requests", "leave 'requests' out to mean all of them"),
        rows => Ok(rows),
    }
}

fn request(name: &str) -> Result<u64, Wrong> {
    let set = SETS.iter().find(|(set, _)| *set == name);
    if let Some((set, opcodes)) = set {
        let rows = opcodes.iter().map(|opcode| 1 << opcode.0).sum::<u64>();
        return Ok(match *set {
            "changes" => rows | 1 << OPEN_FOR_WRITING,
            _ => rows,
        });
    }
    if name.eq_ignore_ascii_case("OPEN_FOR_WRITING") {
        return Ok(1 << OPEN_FOR_WRITING);
    }
    let Ok(opcode) = cli::opcode(name) else {
        return wrong(
            format!("'{name}' is neither the name of a request nor of a set"),
            "names are those of 'shmfuse stat', as READ or LOOKUP; sets are changes, data and \
             listing; OPEN_FOR_WRITING is an OPEN that may change the file",
        );
    };
    if NEVER_RULED >> opcode.0 & 1 != 0 {
        return wrong(
            format!("no rule can be about {opcode}"),
            "it gives back what the daemon holds, and must reach it; leave it out",
        );
    }
    Ok(match opcode {
        Opcode::OPEN => 1 << opcode.0 | 1 << OPEN_FOR_WRITING,
        _ => 1 << opcode.0,
    })
}

/// The names that are looked up: of 1 to 224 bytes, without a slash.
///
/// # Errors
///
/// What is wrong with the value.
pub fn names(value: &Value) -> Result<Vec<String>, Wrong> {
    const NAME_MAX: usize = transport::cache::NAME_MAX;
    let names = strings(value)?;
    if names.is_empty() {
        return wrong("no names", "leave 'names' out to mean all of them");
    }
    for name in &names {
        let is_name = !name.is_empty() && name.len() <= NAME_MAX && !name.contains(['/', '\0']);
        if !is_name || matches!(*name, "." | "..") {
            return wrong(
                format!("'{name}' is not the name of an entry of up to {NAME_MAX} bytes"),
                "a name is one step of a path; for what lies below a directory use 'subtree'",
            );
        }
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// One string, or a list of strings.
fn strings(value: &Value) -> Result<Vec<&str>, Wrong> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    items
        .iter()
        .map(|item| match item.as_str() {
            Some(text) => Ok(text),
            None => wrong(
                "neither a string nor a list of strings",
                "as in [\"a\", \"b\"]",
            ),
        })
        .collect()
}

/// One string.
///
/// # Errors
///
/// What is wrong with the value.
pub fn string(value: &Value) -> Result<&str, Wrong> {
    value
        .as_str()
        .map_or_else(|| wrong("not a string", "put it in quotes"), Ok)
}

/// A whole number from `min` on.
///
/// # Errors
///
/// What is wrong with the value.
pub fn number(value: &Value, min: u64, max: u64) -> Result<u64, Wrong> {
    let number = value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok());
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        _ => wrong(
            format!("not a whole number between {min} and {max}"),
            "write it without quotes",
        ),
    }
}

/// One number, or a range of them as a string: `"1000-1999"`, `"1000-"`, `"-999"`.
///
/// # Errors
///
/// What is wrong with the value.
pub fn span(value: &Value) -> Result<Span, Wrong> {
    span_of(value, |text| text.parse().ok())
}

/// The same of bytes: K and M may follow each number.
///
/// # Errors
///
/// What is wrong with the value.
pub fn sizes(value: &Value) -> Result<Span, Wrong> {
    span_of(value, |text| cli::bytes(text).ok())
}

fn span_of(value: &Value, one: impl Fn(&str) -> Option<u32>) -> Result<Span, Wrong> {
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let one = |text: &str| one(text).filter(|_| digits(text));
    let found = match value {
        Value::Integer(number) => u32::try_from(*number).ok().map(|number| (number, number)),
        Value::String(text) => match text.split_once('-') {
            None => one(text).map(|number| (number, number)),
            Some(("", "")) => None,
            Some((min, "")) => one(min).map(|min| (min, u32::MAX)),
            Some(("", max)) => one(max).map(|max| (0, max)),
            Some((min, max)) => one(min).zip(one(max)),
        },
        _ => None,
    };
    match found {
        Some((min, max)) if min <= max => Ok(Span { min, max }),
        Some((min, max)) => wrong(
            format!("a range from {min} down to {max}"),
            "the smaller number stands first",
        ),
        None => wrong(
            format!("'{value}' is neither a number below 4294967296 nor a range of such"),
            "as in 1000, \"1000-1999\", \"1000-\" or \"-999\"",
        ),
    }
}

/// How many in a time: `"100/s"`, `"5/min"`, `"1000/100ms"`. Nanoseconds in which one passes.
///
/// # Errors
///
/// What is wrong with the value.
pub fn rate(value: &Value) -> Result<u64, Wrong> {
    const SECOND_NS: u64 = 1_000_000_000;
    let parsed = value.as_str().and_then(|text| {
        let (count, time) = text.split_once('/')?;
        let count = count
            .trim()
            .parse::<u64>()
            .ok()
            .filter(|count| *count > 0)?;
        let time_ns = match time.trim() {
            "s" => SECOND_NS,
            "min" => 60 * SECOND_NS,
            "h" => 3600 * SECOND_NS,
            other => u64::try_from(cli::time(other).ok()?.as_nanos()).ok()?,
        };
        Some(time_ns / count).filter(|interval| *interval > 0)
    });
    parsed.map_or_else(
        || {
            wrong(
                format!("'{value}' is not a rate of up to one a nanosecond"),
                "as in \"100/s\", \"5/min\" or \"20/100ms\"",
            )
        },
        Ok,
    )
}

/// An errno, by name or number: 1 to 511, as FUSE takes it.
///
/// # Errors
///
/// What is wrong with the value.
pub fn errno(value: &Value) -> Result<u16, Wrong> {
    let found = match value {
        Value::Integer(number) => u16::try_from(*number).ok(),
        Value::String(name) => cli::errno(name).and_then(|errno| u16::try_from(errno).ok()),
        _ => None,
    };
    match found {
        Some(errno) if (1..512).contains(&errno) => Ok(errno),
        _ => wrong(
            format!("{value} is not an errno"),
            format!(
                "a number between 1 and 511, or one of {}",
                cli::errno_names()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn a_range_is_a_number_or_a_string_with_a_dash() {
        let of = |value: &Value| span(value).map(|span| (span.min, span.max)).ok();
        assert_eq!(of(&Value::Integer(5)), Some((5, 5)));
        assert_eq!(of(&text("5")), Some((5, 5)));
        assert_eq!(of(&text("1000-1999")), Some((1000, 1999)));
        assert_eq!(of(&text("1000-")), Some((1000, u32::MAX)));
        assert_eq!(of(&text("-9")), Some((0, 9)));
        let wrong = ["", "-", "x", "2-1", "1-2-3", "+1", "4294967296", "1K"];
        for wrong in wrong
            .map(text)
            .iter()
            .chain([&Value::Integer(-1), &Value::Boolean(true)])
        {
            assert!(of(wrong).is_none(), "{wrong}");
        }
        let size = sizes(&text("64K-1M")).unwrap();
        assert_eq!((size.min, size.max), (64 << 10, 1 << 20));
    }

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        assert_eq!(rate(&text("100/s")), Ok(10_000_000));
        assert_eq!(rate(&text("20/100ms")), Ok(5_000_000));
        assert_eq!(rate(&text("1/h")), Ok(3_600_000_000_000));
        for wrong in ["", "100", "0/s", "-1/s", "x/s", "1/day", "9999999999/s"] {
            assert!(rate(&text(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn requests_go_by_name_or_by_set_and_some_are_never_ruled() {
        assert_eq!(requests(&text("read")), Ok(1 << Opcode::READ.0));
        let open = requests(&text("OPEN")).unwrap();
        assert_eq!(open, 1 << Opcode::OPEN.0 | 1 << OPEN_FOR_WRITING);
        let changes = requests(&text("changes")).unwrap();
        assert_eq!(changes & open, 1 << OPEN_FOR_WRITING);
        assert_eq!(changes & every_request(), changes);
        for wrong in ["RELEASE", "FORGET", "FLUSH", "READX", ""] {
            assert!(requests(&text(wrong)).is_err(), "{wrong}");
        }
        assert!(requests(&Value::Array(Vec::new())).is_err());
    }

    #[test]
    fn an_errno_goes_by_name_or_by_number() {
        assert_eq!(errno(&text("EACCES")), Ok(libc::EACCES as u16));
        assert_eq!(errno(&Value::Integer(511)), Ok(511));
        for wrong in [Value::Integer(0), Value::Integer(512), text("EWHAT")] {
            assert!(errno(&wrong).is_err(), "{wrong}");
        }
    }
}
