//! Where the log goes: stderr, a file, or the system's log.

use crate::error::{Error, Result};
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::unix::net::UnixDatagram,
    path::Path,
    sync::Arc,
};
use tracing::Metadata;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt::MakeWriter};

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Level {
    /// Failures
    Error,
    /// And what is not as it should be
    Warn,
    /// And what was chosen, started and ended
    Info,
    /// And what happens now and then
    Debug,
    /// And each request
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// What a line of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// Text for people
    Text,
    /// A JSON object, with level and time
    Json,
}

/// Where the log goes.
#[derive(Debug)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// A file, with times.
    File(File),
    /// syslog, or where there is none the kernel's log.
    System,
}

/// Opens a file to append a log to.
///
/// # Errors
///
/// What open(2) says.
pub fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| Error::path("cannot log to", path, error))
}

/// What of ours is logged; of the eBPF loader, which tells each relocation, only what is wrong.
fn filter(level: Level) -> EnvFilter {
    let level = LevelFilter::from(level);
    EnvFilter::new(format!("{level},aya=warn,aya_obj=warn"))
}

/// Starts logging. A second call changes nothing.
pub fn start(target: Target, level: Level, format: Format) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_target(false);
    if format == Format::Json {
        let builder = builder.json().flatten_event(true).with_current_span(false);
        let _ = match target {
            Target::Stderr => builder.with_writer(io::stderr).try_init(),
            Target::File(file) => builder.with_writer(Arc::new(file)).try_init(),
            Target::System => builder.with_writer(SystemLog::open()).try_init(),
        };
        return;
    }
    // Each of these fails only if logging has been started before.
    let _ = match target {
        Target::Stderr => builder
            .without_time()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .try_init(),
        Target::File(file) => builder
            .with_ansi(false)
            .with_writer(Arc::new(file))
            .try_init(),
        Target::System => builder
            .without_time()
            .with_level(false)
            .with_ansi(false)
            .with_writer(SystemLog::open())
            .try_init(),
    };
}

/// A panic becomes one line of the log, and no more: the backtrace would go to a stderr that
/// nobody reads.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name").to_owned();
        let what = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(place) => tracing::error!("thread {name} panicked at {place}: {what}"),
            None => tracing::error!("thread {name} panicked: {what}"),
        }
    }));
}

/// The system's log: a datagram to `/dev/log` per line (RFC 3164, as every syslog daemon and
/// journald take it), else a line to `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg).
#[derive(Debug)]
struct SystemLog {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Syslog(UnixDatagram),
    Kmsg(File),
    Nowhere,
}

impl SystemLog {
    fn open() -> Self {
        let syslog = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect("/dev/log")?;
            // A syslog daemon that hangs must not hang a file system.
            socket.set_nonblocking(true)?;
            io::Result::Ok(Sink::Syslog(socket))
        };
        let kmsg = || {
            OpenOptions::new()
                .write(true)
                .open("/dev/kmsg")
                .map(Sink::Kmsg)
        };
        Self {
            sink: syslog().or_else(|_| kmsg()).unwrap_or(Sink::Nowhere),
        }
    }
}

impl<'a> MakeWriter<'a> for SystemLog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.line(&tracing::Level::INFO)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        self.line(meta.level())
    }
}

impl SystemLog {
    fn line(&self, level: &tracing::Level) -> Line<'_> {
        // Facility 3, daemon; severities as in syslog(3).
        let severity = match *level {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            _ => 7,
        };
        let head = format!("<{}>shmfuse[{}]: ", 3 << 3 | severity, std::process::id());
        Line {
            sink: &self.sink,
            text: head.into_bytes(),
        }
    }
}

/// One line on its way to the system's log; sent when it is dropped.
#[derive(Debug)]
struct Line<'a> {
    sink: &'a Sink,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = self.text.trim_ascii_end();
        // There is no other place to say that the log is full.
        let _ = match self.sink {
            Sink::Syslog(socket) => socket.send(text).map(drop),
            Sink::Kmsg(file) => (&*file).write_all(text),
            Sink::Nowhere => Ok(()),
        };
    }
}
