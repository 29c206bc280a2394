//! What clap finds wrong with the arguments, in one line.

use super::Failure;
use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{error::Error as _, ffi::OsString};

/// Parses arguments. None if they asked for help or the version, which has been printed.
///
/// # Errors
///
/// What is wrong, in one line: a value that an option does not take is a failure like any other,
/// everything else is wrong usage.
pub fn parse<T: Parser>(args: &[OsString]) -> Result<Option<T>, Failure> {
    let error = match T::try_parse_from(args) {
        Ok(parsed) => return Ok(Some(parsed)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone (`| head -1`) is no failure of ours.
            let _ = error.print();
            Ok(None)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            Err(Failure::Failed(anyhow::anyhow!(describe(&error))))
        }
        _ => Err(Failure::Usage(describe(&error))),
    }
}

fn describe(error: &clap::Error) -> String {
    let text = |kind| error.get(kind).map(as_text).unwrap_or_default();
    let argument = text(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let option = argument.split([' ', '=']).next().unwrap_or_default();
            let value = text(ContextKind::InvalidValue);
            let valid = text(ContextKind::ValidValue);
            let why = match error.source() {
                _ if value.is_empty() => return format!("{option}: a value is missing"),
                Some(source) => source.to_string(),
                None => format!("not one of {valid}"),
            };
            format!("{option} {value}: {why}")
        }
        // The first line without clap's own prefix, and where to read on.
        _ => {
            let rendered = error.to_string();
            let said = rendered
                .split("\n\n")
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                "no command given (shmfuse --help lists them)".to_owned()
            } else {
                format!("{} (see shmfuse --help)", said.trim_end_matches(':'))
            }
        }
    }
}

fn as_text(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(several) => several.join(", "),
        other => other.to_string(),
    }
}

/// Makes one line of a text of several.
pub fn one_line(text: &str) -> String {
    text.split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
