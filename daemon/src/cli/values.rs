//! Values of options: sizes with a suffix, times, names. Each parser says what it would have taken.

use crate::{
    config::{CachePolicy, DataChoice, Denied, Engine, S2, TransportChoice, TransportKind},
    delay::{LowerDelay, NamePattern},
    fuse::negotiate::PAYLOAD_MAX,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};
use transport::{cache::NAME_MAX, stats::OpcodeSlot, wire::Opcode};

/// What `--max-write` takes, in bytes. The kernel's own limits: `FUSE_MIN_READ_BUFFER` below,
/// `fs.fuse.max_pages_limit` (256 pages unless raised) above.
pub const MAX_WRITE: RangeInclusive<u32> = 4096..=1 << 20;
/// The longest time `--cache ttl=` takes, in seconds.
pub const TTL_MAX_SECONDS: f64 = 1e9;
/// The longest time `--lower-delay` takes.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// The longest time that other options take.
pub const TIME_MAX: Duration = Duration::from_secs(3600);
/// What `--head-len` takes, in bytes: a page of the map, up to the longest payload.
pub const HEAD_LEN: RangeInclusive<u32> = 4096..=PAYLOAD_MAX as u32;

/// Bytes: a whole number with an optional suffix K (1024) or M (1024 K), in either case.
///
/// # Errors
///
/// What is wrong with the text.
pub fn bytes(text: &str) -> Result<u32, String> {
    scaled(text, "kKmM")
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| {
            "not a number of bytes below 4 GiB; K and M may follow, as in 128K".to_owned()
        })
}

/// `--memory-max`: bytes, with G (1024 M) as well.
///
/// # Errors
///
/// What is wrong with the text.
pub fn memory(text: &str) -> Result<u64, String> {
    scaled(text, "kKmMgG")
        .ok_or_else(|| "not a number of bytes; K, M and G may follow, as in 64M".to_owned())
}

/// A whole number, and one of the suffixes that are allowed.
fn scaled(text: &str, suffixes: &str) -> Option<u64> {
    let suffix = text.chars().last().filter(|&last| suffixes.contains(last));
    let unit = match suffix.map(|suffix| suffix.to_ascii_uppercase()) {
        Some('K') => 1 << 10,
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        _ => 1,
    };
    whole(&text[..text.len() - suffix.map_or(0, char::len_utf8)])?.checked_mul(unit)
}

/// `--max-write`: a multiple of 4096 within [`MAX_WRITE`].
///
/// # Errors
///
/// What is wrong with the text.
pub fn max_write(text: &str) -> Result<u32, String> {
    let number = bytes(text)?;
    if MAX_WRITE.contains(&number) && number.is_multiple_of(4096) {
        Ok(number)
    } else {
        Err("not a multiple of 4K between 4K and 1M".to_owned())
    }
}

/// `--head-len`: a multiple of 4096 within [`HEAD_LEN`].
///
/// # Errors
///
/// What is wrong with the text.
pub fn head_len(text: &str) -> Result<usize, String> {
    let number = bytes(text)?;
    if HEAD_LEN.contains(&number) && number.is_multiple_of(4096) {
        Ok(number as usize)
    } else {
        Err("not a multiple of 4K between 4K and 1M".to_owned())
    }
}

/// `--transport`: the name of one, or `auto`.
pub fn transport() -> impl TypedValueParser<Value = TransportChoice> {
    let names = TransportKind::ALL.map(TransportKind::name);
    PossibleValuesParser::new(names.into_iter().chain(["auto"])).map(|name| {
        TransportKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .map_or(TransportChoice::Auto, TransportChoice::Only)
    })
}

/// `--engine`: worker or kernel.
pub fn engine() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(["worker", "kernel"]).map(|name| match name.as_str() {
        "kernel" => Engine::Kernel,
        _ => Engine::Worker,
    })
}

/// `--data`: copy, passthrough or auto.
pub fn data() -> impl TypedValueParser<Value = DataChoice> {
    PossibleValuesParser::new(["copy", "passthrough", "auto"]).map(|name| match name.as_str() {
        "copy" => DataChoice::Copy,
        "passthrough" => DataChoice::Passthrough,
        _ => DataChoice::Auto,
    })
}

/// `--cache`: `strict`, `coherent` or `ttl=SECONDS`, fractions allowed.
///
/// # Errors
///
/// What is wrong with the text.
pub fn cache(text: &str) -> Result<CachePolicy, String> {
    match text {
        "strict" => return Ok(CachePolicy::Strict),
        "coherent" => return Ok(CachePolicy::Coherent),
        _ => {}
    }
    let Some(seconds) = text.strip_prefix("ttl=") else {
        return Err("neither strict, coherent nor ttl=SECONDS".to_owned());
    };
    match seconds.parse::<f64>() {
        Ok(number) if (0.0..=TTL_MAX_SECONDS).contains(&number) => {
            Ok(CachePolicy::Ttl(Duration::from_secs_f64(number)))
        }
        _ => Err(format!(
            "'{seconds}' is not a number of seconds between 0 and {TTL_MAX_SECONDS}"
        )),
    }
}

/// A switch: on or off.
///
/// # Errors
///
/// What is wrong with the text.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("neither on nor off".to_owned()),
    }
}

/// What is loaded before it is asked for.
///
/// # Errors
///
/// What is wrong with the text.
pub fn s2(text: &str) -> Result<S2, String> {
    match text {
        "off" => Ok(S2::Off),
        "readdirplus" => Ok(S2::Readdirplus),
        "on" => Ok(S2::Prefetch),
        _ => Err("neither off, nor readdirplus, nor on".to_owned()),
    }
}

/// The errnos that have a name here (include/uapi/asm-generic/errno-base.h).
const ERRNOS: [(&str, i32); 12] = [
    ("EPERM", libc::EPERM),
    ("ENOENT", libc::ENOENT),
    ("EIO", libc::EIO),
    ("EAGAIN", libc::EAGAIN),
    ("ENODEV", libc::ENODEV),
    ("EINVAL", libc::EINVAL),
    ("ENOSPC", libc::ENOSPC),
    ("EDQUOT", libc::EDQUOT),
    ("EACCES", libc::EACCES),
    ("EBUSY", libc::EBUSY),
    ("EROFS", libc::EROFS),
    ("ENOTSUP", libc::ENOTSUP),
];

/// The errno of this name.
pub fn errno(text: &str) -> Option<i32> {
    let named = ERRNOS.iter().find(|(name, _)| *name == text);
    named.map(|(_, errno)| *errno)
}

/// The names that [`errno`] knows, for messages.
pub fn errno_names() -> String {
    ERRNOS.map(|(name, _)| name).join(", ")
}

/// `--deny`: a name, and behind an equals sign the errno. What follows the last equals sign and is no
/// errno belongs to the name.
///
/// # Errors
///
/// What is wrong with the text.
pub fn deny(text: &str) -> Result<Denied, String> {
    let errno = |text: &str| {
        let number = || whole(text).and_then(|number| i32::try_from(number).ok());
        errno(text).or_else(number)
    };
    let (name, errno) = text
        .rsplit_once('=')
        .and_then(|(name, last)| Some((name, errno(last)?)))
        .unwrap_or((text, libc::EACCES));
    if name.is_empty() || name.len() > NAME_MAX || name.contains('/') || matches!(name, "." | "..")
    {
        return Err(format!(
            "'{name}' is not the name of an entry of up to {NAME_MAX} bytes"
        ));
    }
    if !(1..512).contains(&errno) {
        return Err(format!("{errno} is not an errno between 1 and 511"));
    }
    let name = name.as_bytes().to_vec();
    Ok(Denied { name, errno })
}

/// `--lower-delay`: a whole number with its unit (us, ms or s) up to [`DELAY_MAX`], and behind a
/// colon the names it is for.
///
/// # Errors
///
/// What is wrong with the text.
pub fn delay(text: &str) -> Result<LowerDelay, String> {
    let (time, names) = match text.split_once(':') {
        Some((time, names)) => (time, Some(names)),
        None => (text, None),
    };
    let time = duration(time, DELAY_MAX).ok_or_else(|| {
        "not a time up to 60s; us, ms or s belongs behind it, and :NAME may follow, as in 50ms:slow*"
            .to_owned()
    })?;
    Ok(LowerDelay {
        time,
        names: names.map(NamePattern::new),
    })
}

/// A length of time: a whole number and its unit, us, ms or s, as in `5ms`; up to an hour.
///
/// # Errors
///
/// What is wrong with the text.
pub fn time(text: &str) -> Result<Duration, String> {
    duration(text, TIME_MAX)
        .ok_or_else(|| "not a time up to an hour, as in 500us, 5ms, 2s".to_owned())
}

/// A whole number with its unit, us, ms or s, up to `max`.
fn duration(text: &str, max: Duration) -> Option<Duration> {
    let units = [("us", 1), ("ms", 1000), ("s", 1_000_000)];
    let us = units.into_iter().find_map(|(unit, us)| {
        let number = text.strip_suffix(unit)?;
        whole(number)?.checked_mul(us)
    })?;
    Some(Duration::from_micros(us)).filter(|&time| time <= max)
}

/// The name of a request, in either case: `lookup`, `READ`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn opcode(text: &str) -> Result<Opcode, String> {
    OpcodeSlot::all()
        .filter_map(OpcodeSlot::opcode)
        .find(|opcode| {
            opcode
                .name()
                .is_some_and(|name| name.eq_ignore_ascii_case(text))
        })
        .ok_or_else(|| "not the name of a request, as in LOOKUP, READ, GETATTR".to_owned())
}

/// `--metrics`: a port of 127.0.0.1, or an address with its port. Port 0 is one that is free.
///
/// # Errors
///
/// What is wrong with the text.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let port = whole(text).and_then(|port| u16::try_from(port).ok());
    match port {
        Some(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        None => text
            .parse()
            .map_err(|_| "neither PORT nor ADDRESS:PORT, as in 9100, [::1]:9100".to_owned()),
    }
}

/// A whole number within `range`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn within(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    whole(text)
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            format!(
                "not a whole number between {} and {}",
                range.start(),
                range.end()
            )
        })
}

/// Digits only: `str::parse` would take a sign too.
fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_denied_with_the_errno_behind_it_or_as_not_permitted() {
        let denied = |text: &str| deny(text).map(|denied| (denied.name, denied.errno));
        assert_eq!(denied("core"), Ok((b"core".to_vec(), libc::EACCES)));
        assert_eq!(denied("a=b=EIO"), Ok((b"a=b".to_vec(), libc::EIO)));
        assert_eq!(denied("a=b"), Ok((b"a=b".to_vec(), libc::EACCES)));
        assert_eq!(denied("x=511"), Ok((b"x".to_vec(), 511)));
        for wrong in ["", "=EIO", "a/b", "..", "x=512", "x=0", &"n".repeat(225)] {
            assert!(denied(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_takes_a_suffix_in_either_case() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("128K"), Ok(128 << 10));
        assert_eq!(bytes("1m"), Ok(1 << 20));
    }

    #[test]
    fn a_size_that_is_none_or_does_not_fit_is_refused() {
        for text in [
            "",
            "K",
            "-1",
            "+1",
            "1.5M",
            "4096M",
            "1KK",
            "99999999999999999999",
            "é",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn max_write_is_whole_pages_up_to_one_mebibyte() {
        assert_eq!(max_write("4K"), Ok(4096));
        assert_eq!(max_write("1M"), Ok(1 << 20));
        for text in ["0", "4095", "5000", "1028K", "2M"] {
            assert!(max_write(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bound_of_memory_may_be_in_gibibytes() {
        assert_eq!(memory("2g"), Ok(2 << 30));
        assert_eq!(memory("1048576"), Ok(1 << 20));
        for text in ["", "G", "1T", "-1M", "1.5G", "99999999999G"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_delay_has_a_unit_and_may_be_for_some_names_only() {
        let (time, names) = (Duration::from_millis(1), None);
        assert_eq!(delay("1ms"), Ok(LowerDelay { time, names }));
        let names = Some(NamePattern::new("a:b*"));
        let time = Duration::from_micros(50_000);
        assert_eq!(delay("50000us:a:b*"), Ok(LowerDelay { time, names }));
        for text in ["", "1", "ms", "-1ms", "1.5ms", "61s", "1h", ":a", "1é"] {
            assert!(delay(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_alone_is_one_of_the_loopback_device() {
        assert_eq!(address("9100"), Ok("127.0.0.1:9100".parse().unwrap()));
        assert_eq!(address("[::1]:80"), Ok("[::1]:80".parse().unwrap()));
        for text in ["", "65536", "localhost:80", "127.0.0.1", ":80", "-1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(time("0us"), Ok(Duration::ZERO));
        assert_eq!(time("3600s"), Ok(Duration::from_secs(3600)));
        for text in [
            "5",
            "ms",
            "-1s",
            "1.5s",
            "3601s",
            "99999999999999999999s",
            "5m",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_is_named_in_either_case() {
        assert_eq!(opcode("LOOKUP"), Ok(Opcode::LOOKUP));
        assert_eq!(opcode("read"), Ok(Opcode::READ));
        assert!(opcode("").is_err() && opcode("readx").is_err());
    }

    #[test]
    fn a_time_to_live_may_have_a_fraction() {
        assert_eq!(
            cache("ttl=0.5"),
            Ok(CachePolicy::Ttl(Duration::from_millis(500)))
        );
        assert_eq!(cache("strict"), Ok(CachePolicy::Strict));
        assert_eq!(cache("coherent"), Ok(CachePolicy::Coherent));
        for text in [
            "ttl=",
            "ttl=-1",
            "ttl=NaN",
            "ttl=inf",
            "ttl=1e300",
            "1",
            "off",
        ] {
            assert!(cache(text).is_err(), "{text}");
        }
    }
}
