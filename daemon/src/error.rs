//! Errors of the daemon: what failed, on what, and what to do about it.

use std::{io, path::PathBuf};

/// What can go wrong outside a request. (Inside one the answer is an errno.)
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a path failed.
    #[error("{action} {path}: {}{}", why(.source), in_brackets(.remedy))]
    Path {
        /// What was tried, as in "cannot open".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it; empty if nothing is known.
        remedy: String,
    },
    /// A system call on no path failed.
    #[error("{action}: {}{}", why(.source), in_brackets(.remedy))]
    System {
        /// What was tried, as in "cannot create an io_uring".
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it; empty if nothing is known.
        remedy: String,
    },
    /// This kernel or user lacks something.
    #[error("{what}{}", in_brackets(.remedy))]
    Unsupported {
        /// What is lacking.
        what: String,
        /// How to get it.
        remedy: String,
    },
    /// What the user named cannot be used so.
    #[error("{thing}: {why}{}", in_brackets(.remedy))]
    Refused {
        /// What the user named: an option, a directory.
        thing: String,
        /// Why it cannot be used.
        why: String,
        /// What to do about it; empty if nothing is known.
        remedy: String,
    },
    /// What the daemon said before it ended, whole.
    #[error("{0}")]
    Daemon(String),
    /// A request is in nobody's hands.
    #[error(
        "request {unique} in slot {slot} is lost: somebody else has written to the memory that is \
         shared with kernel programs"
    )]
    Lost {
        /// Its number.
        unique: u64,
        /// Its slot, counted over all queues.
        slot: u32,
    },
    /// The kernel broke the FUSE protocol as this daemon knows it.
    #[error("unexpected message from the kernel: {0}")]
    Protocol(String),
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

/// What the system says, without the number that Rust appends ("(os error 2)").
pub(crate) fn why(source: &io::Error) -> String {
    let text = source.to_string();
    match (source.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(end)) => text[..end].to_owned(),
        _ => text,
    }
}

/// Results of everything outside a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failed system call, without a remedy.
    pub fn system(action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System {
            action,
            source: source.into(),
            remedy: String::new(),
        }
    }

    /// A failed system call on a path, without a remedy.
    pub fn path(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Path {
            action,
            path: path.into(),
            source: source.into(),
            remedy: String::new(),
        }
    }

    /// What the user named, why it cannot be used so, and what to do about it.
    pub fn refused(
        thing: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Refused {
            thing: thing.into(),
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Path { remedy, .. }
            | Self::System { remedy, .. }
            | Self::Refused { remedy, .. }
            | Self::Unsupported { remedy, .. } => {
                *remedy = text.into();
            }
            Self::Daemon(_) | Self::Protocol(_) | Self::Lost { .. } => {}
        }
        self
    }
}
