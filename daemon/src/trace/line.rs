//! One request, as text or as JSON.

use serde_json::{Value, json};
use std::io::{self, Write};
use transport::{trace::Life, wire::Opcode};

/// How a request is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Columns; times in microseconds.
    Text,
    /// An object a line; times in nanoseconds.
    Json,
}

/// Where a request's time went, nanoseconds. None: not seen, as of a request that nobody answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stages {
    /// From sending until it lay in a ring entry or the daemon had read it: waiting for an entry or a thread, copying.
    pub queue: Option<u64>,
    /// From then until the answer was committed, or began to be written: the daemon's, or the kernel program's.
    pub serve: Option<u64>,
    /// From then until the answer was there: copying.
    pub reply: Option<u64>,
}

impl Stages {
    /// Those of a request.
    pub fn of(life: &Life) -> Self {
        let stage = |from: u64, to: u64| (from != 0 && to != 0).then(|| to.saturating_sub(from));
        Self {
            queue: stage(life.sent_ns, life.arrived_ns),
            serve: stage(life.arrived_ns, life.committed_ns),
            reply: stage(life.committed_ns, life.ended_ns),
        }
    }
}

/// What stands above the columns.
pub const HEADER: &str = "\
time s         op                 node     uid task                     total µs  queue µs  serve µs  reply µs   bytes in/out  error";

impl Format {
    /// Writes the line of a request.
    ///
    /// # Errors
    ///
    /// What `output` says.
    pub fn write(self, life: &Life, output: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text => writeln!(output, "{}", text(life)),
            Self::Json => writeln!(output, "{}", to_json(life)),
        }
    }
}

fn text(life: &Life) -> String {
    let stages = Stages::of(life);
    let us = |ns: Option<u64>| match ns {
        Some(ns) => format!("{:.1}", ns as f64 / 1e3),
        None => "-".to_owned(),
    };
    let error = match life.error {
        0 => String::new(),
        error => error_name(error),
    };
    format!(
        "{:<14.6} {:<16} {:>6} {:>7} {:<22} {:>10} {:>9} {:>9} {:>9} {:>14}  {error}",
        life.sent_ns as f64 / 1e9,
        op(life),
        life.nodeid,
        life.uid,
        format!("{} ({})", task(life), life.pid),
        us(Some(life.total_ns())),
        us(stages.queue),
        us(stages.serve),
        us(stages.reply),
        format!("{}/{}", life.in_len, life.out_len),
    )
    .trim_end()
    .to_owned()
}

/// As JSON; the schema is in docs/tracing.md.
pub fn to_json(life: &Life) -> Value {
    let stages = Stages::of(life);
    json!({
        "sent_ns": life.sent_ns,
        "op": op(life),
        "unique": life.unique,
        "node": life.nodeid,
        "uid": life.uid,
        "gid": life.gid,
        "pid": life.pid,
        "task": task(life),
        "total_ns": life.total_ns(),
        "queue_ns": stages.queue,
        "serve_ns": stages.serve,
        "reply_ns": stages.reply,
        "bytes_in": life.in_len,
        "bytes_out": life.out_len,
        "cpu_sent": life.cpus & 0xffff,
        "cpu_ended": life.cpus >> 16,
        "errno": life.error.unsigned_abs(),
    })
}

fn op(life: &Life) -> String {
    match Opcode(life.opcode).name() {
        Some(name) => name.to_owned(),
        None => life.opcode.to_string(),
    }
}

fn task(life: &Life) -> String {
    let end = life.name.iter().position(|&byte| byte == 0);
    let name = &life.name[..end.unwrap_or(life.name.len())];
    // Whoever runs names itself as it likes: nothing of that may move the terminal's cursor.
    String::from_utf8_lossy(name)
        .chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
}

/// The name of a negative errno; a number for those of the kernel's own.
fn error_name(error: i32) -> String {
    match nix::errno::Errno::from_raw(error.wrapping_neg()) {
        nix::errno::Errno::UnknownErrno => error.to_string(),
        errno => format!("{errno:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life() -> Life {
        let mut name = [0; 16];
        name[..6].copy_from_slice(b"ls\x1b[2J");
        Life {
            sent_ns: 1_000_000_000,
            arrived_ns: 1_000_002_000,
            committed_ns: 1_000_005_500,
            ended_ns: 1_000_006_000,
            opcode: Opcode::LOOKUP.0,
            nodeid: 1,
            error: -2,
            cpus: 1 << 16,
            name,
            ..Life::default()
        }
    }

    #[test]
    fn the_stages_add_up_to_the_whole() {
        let stages = Stages::of(&life());
        assert_eq!(stages.queue, Some(2000));
        assert_eq!(stages.serve, Some(3500));
        assert_eq!(stages.reply, Some(500));
        assert_eq!(life().total_ns(), 6000);
    }

    #[test]
    fn a_stage_that_was_not_seen_is_none() {
        let unanswered = Life {
            arrived_ns: 0,
            committed_ns: 0,
            ..life()
        };
        let json = to_json(&unanswered);
        assert!(json["queue_ns"].is_null() && json["serve_ns"].is_null());
        assert_eq!(json["total_ns"], 6000);
        assert!(text(&unanswered).contains(" - "));
    }

    #[test]
    fn a_line_says_what_failed_and_how_and_bears_any_name() {
        let text = text(&life());
        assert!(text.ends_with("ENOENT"), "{text}");
        assert!(
            text.contains("LOOKUP") && text.contains("ls?[2J (0)"),
            "{text}"
        );
        let json = to_json(&life());
        assert_eq!((&json["errno"], &json["cpu_ended"]), (&json!(2), &json!(1)));
    }
}
