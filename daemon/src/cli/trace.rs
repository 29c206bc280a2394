//! `shmfuse trace`.

use super::{Outcome, target, values};
use crate::{
    bpf::trace::Trace,
    signals::Signals,
    trace::{self, End, ftrace, line},
};
use clap::{Args, ValueHint};
use std::{
    io::{BufWriter, stdout},
    path::PathBuf,
    time::Duration,
};
use transport::{trace::Filter, wire::Opcode};

/// Options of `shmfuse trace`.
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// Where shmfuse is mounted
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,
    /// Only these requests, separated by commas: LOOKUP,READ
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = values::opcode)]
    pub op: Vec<Opcode>,
    /// Only requests of this user
    #[arg(long, value_name = "NUMBER")]
    pub uid: Option<u32>,
    /// Only requests that took so long, as in 500us, 5ms, 2s
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub slow: Option<Duration>,
    /// End after so many requests
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time, as in 10s
    #[arg(long = "for", value_name = "TIME", value_parser = values::time)]
    pub time: Option<Duration>,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Record the kernel's own events of FUSE, io_uring and the scheduler, for the daemon and those it
    /// serves, into this file: text, as Perfetto opens it, or with the ending .dat as trace-cmd does
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["op", "uid", "slow", "count", "json"]
    )]
    pub ftrace: Option<PathBuf>,
}

/// Traces until told to stop.
///
/// # Errors
///
/// No mount of shmfuse there, lack of privilege, a kernel that cannot.
pub fn run(args: &TraceArgs) -> Outcome {
    let mount = target::mount(&args.mountpoint)?;
    let daemon = target::daemon(&mount)?.pid();
    let signals = Signals::collect()?;
    if let Some(file) = &args.ftrace {
        let recorded = ftrace::record(&mount, daemon, &signals, args.time, file)?;
        eprintln!("{}: {recorded}", file.display());
        return Ok(());
    }
    let filter = Filter {
        opcodes: match args.op[..] {
            [] => u64::MAX,
            _ => args.op.iter().fold(0, |all, op| all | Filter::bit(op.0)),
        },
        uid: args.uid,
        slow_ns: args.slow.map_or(0, |time| time.as_nanos() as u64),
    };
    let mut trace = Trace::start(mount.device, daemon, &filter)?;
    let format = if args.json {
        line::Format::Json
    } else {
        line::Format::Text
    };
    // Whoever waits for the trace to begin reads this; the requests go to stdout.
    eprintln!("tracing {}; Ctrl-C ends it", mount.mountpoint.display());
    let mut output = BufWriter::new(stdout().lock());
    if format == line::Format::Text {
        // A reader that has gone is found out at the first request.
        let _ = std::io::Write::write_all(&mut output, format!("{}\n", line::HEADER).as_bytes());
    }
    let end = End {
        count: args.count,
        time: args.time,
    };
    let shown = trace::follow(&mut trace, &signals, end, format, &mut output)?;
    match trace.dropped() {
        0 => eprintln!("{shown} requests"),
        dropped => {
            eprintln!("{shown} requests; about {dropped} more were not shown (too many at once)")
        }
    }
    Ok(())
}
