//! Values of options: sizes with a suffix, times, names. Each parser says what it would have taken.

use crate::config::{CachePolicy, DataChoice, TransportChoice, TransportKind};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::{ops::RangeInclusive, time::Duration};

/// What `--max-write` takes, in bytes. The kernel's own limits: `FUSE_MIN_READ_BUFFER` below,
/// `fs.fuse.max_pages_limit` (256 pages unless raised) above.
pub const MAX_WRITE: RangeInclusive<u32> = 4096..=1 << 20;
/// The longest time `--cache ttl=` takes, in seconds.
pub const TTL_MAX_SECONDS: f64 = 1e9;
/// The longest time `--inject-delay-us` takes, in microseconds.
pub const DELAY_MAX_US: u64 = 60_000_000;

/// Bytes: a whole number with an optional suffix K (1024) or M (1024 K), in either case.
///
/// # Errors
///
/// What is wrong with the text.
pub fn bytes(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    whole(digits)
        .and_then(|number| number.checked_mul(unit))
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| {
            "not a number of bytes below 4 GiB; K and M may follow, as in 128K".to_owned()
        })
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

/// `--data`: copy, passthrough or auto.
pub fn data() -> impl TypedValueParser<Value = DataChoice> {
    PossibleValuesParser::new(["copy", "passthrough", "auto"]).map(|name| match name.as_str() {
        "copy" => DataChoice::Copy,
        "passthrough" => DataChoice::Passthrough,
        _ => DataChoice::Auto,
    })
}

/// `--cache`: `strict` or `ttl=SECONDS`, fractions allowed.
///
/// # Errors
///
/// What is wrong with the text.
pub fn cache(text: &str) -> Result<CachePolicy, String> {
    if text == "strict" {
        return Ok(CachePolicy::Strict);
    }
    let Some(seconds) = text.strip_prefix("ttl=") else {
        return Err("neither strict nor ttl=SECONDS".to_owned());
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

/// `--inject-delay-us`: a whole number of microseconds up to [`DELAY_MAX_US`].
///
/// # Errors
///
/// What is wrong with the text.
pub fn delay(text: &str) -> Result<Duration, String> {
    whole(text)
        .filter(|&number| number <= DELAY_MAX_US)
        .map(Duration::from_micros)
        .ok_or_else(|| format!("not a number of microseconds up to {DELAY_MAX_US}"))
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
    fn a_time_to_live_may_have_a_fraction() {
        assert_eq!(
            cache("ttl=0.5"),
            Ok(CachePolicy::Ttl(Duration::from_millis(500)))
        );
        assert_eq!(cache("strict"), Ok(CachePolicy::Strict));
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
