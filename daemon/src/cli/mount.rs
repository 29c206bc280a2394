//! `shmfuse mount`: its options, and how they become a checked [`Config`].

use super::{
    Failure, Outcome,
    for_tests::TestArgs,
    options::{self, LongOption},
    places::{directory, mountpoint},
    ranges, usage, values,
};
use crate::{
    config::{
        CachePolicy, Config, DataChoice, Denied, Engine, LocksOf, MountOptions, S2,
        TransportChoice, stack_depth,
    },
    daemonize,
    error::{Error, Result},
    lifecycle,
    log::{self, Format, Level},
    rules::spec::Spec,
    supervise,
};
use clap::{Args, CommandFactory, Parser, ValueHint};
use std::{ffi::OsString, net::SocketAddr, num::NonZero, path::PathBuf, time::Duration};

/// Options of `shmfuse mount`. Each long one is also an `-o` key.
#[derive(Args, Debug)]
#[command(args_override_self = true, after_help = AFTER_HELP)]
pub struct MountArgs {
    /// Directory whose contents are to appear at MOUNTPOINT
    #[arg(value_name = "LOWER", value_hint = ValueHint::DirPath)]
    pub lower: PathBuf,
    /// Directory to mount on; what is in it is hidden while the mount lasts
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,
    /// Mount options, separated by commas (listed below)
    #[arg(short = 'o', value_name = "OPTIONS", action = clap::ArgAction::Append)]
    pub options: Vec<String>,
    /// Do not become a daemon; log to stderr
    #[arg(short, long)]
    pub foreground: bool,
    /// Keep a small parent process that replaces the daemon when it has died: docs/reliability.md says
    /// what goes on and what fails
    #[arg(long)]
    pub supervise: bool,
    /// How requests reach the daemon: by read and write on /dev/fuse (classic), the same with
    /// splice for data, by FUSE-over-io_uring, by the same in memory shared with kernel programs
    /// (shm; root only), or by the first of shm, uring and classic that can be had (the log says
    /// which, and what the others lack)
    #[arg(long, default_value = "auto", value_parser = values::transport())]
    pub transport: TransportChoice,
    /// Who runs the shm transport: a thread of the daemon per CPU, or polling kernel threads
    #[arg(long, default_value = "worker", value_parser = values::engine())]
    pub engine: Engine,
    /// Milliseconds that the threads of the kernel engine poll in vain before they sleep, 1 to 60000
    #[arg(long, value_name = "MILLISECONDS", default_value = "1", value_parser = ranges::poll_idle)]
    pub poll_idle_ms: u32,
    /// How file data reaches applications: through the daemon (copy), past it, the kernel reading
    /// and writing the lower file by itself (passthrough; root only), or the latter where possible
    #[arg(long, default_value = "auto", value_parser = values::data())]
    pub data: DataChoice,
    /// How long the kernel may believe names and attributes: until the lower directory changes, where
    /// every change is reported (coherent; else it is strict, and the log says why), not at all (strict:
    /// it asks each time), or ttl=SECONDS (fractions allowed)
    #[arg(long, value_name = "POLICY", default_value = "coherent", value_parser = values::cache)]
    pub cache: CachePolicy,
    /// Files are opened and closed by the kernel alone, and their pages stay: no OPEN, FLUSH or
    /// RELEASE is sent. Locks are then the mount's own, not the lower file's. Needs --cache coherent or
    /// ttl=SECONDS
    #[arg(long)]
    pub no_open: bool,
    /// Whose locks those of fcntl(2) are: the lower file's, or the mount's own (mount), which exclude its
    /// users alone; on ext4, tmpfs, xfs and btrfs closing a file then waits for no request
    #[arg(long, value_name = "lower|mount", default_value = "lower")]
    pub locks: LocksOf,
    /// The kernel collects writes, and keeps sizes and times of files, until it sends them: the lower
    /// directory must not be changed by others meanwhile. Needs --cache coherent or ttl=SECONDS
    #[arg(long)]
    pub writeback: bool,
    /// Serving threads of classic and splice, 1 to 1024 [default: one per CPU, at least 2];
    /// uring and shm have one per CPU
    #[arg(long, value_name = "NUMBER", value_parser = ranges::threads)]
    pub threads: Option<usize>,
    /// Requests in flight per CPU of uring and shm, 1 to 256 (shm: 128)
    #[arg(long, value_name = "NUMBER", default_value = "8", value_parser = ranges::queue_depth)]
    pub queue_depth: usize,
    /// Largest write request in bytes, a multiple of 4K from 4K to 1M
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = values::max_write)]
    pub max_write: u32,
    /// Requests that the kernel sends without waiting (readahead, asynchronous direct I/O), 1 to 65535
    #[arg(long, value_name = "NUMBER", default_value = "64", value_parser = ranges::max_background)]
    pub max_background: u16,
    /// Whether kernel programs answer what they know, where every change below is noticed (shm)
    #[arg(long, value_name = "SWITCH", default_value = "on", value_parser = values::switch, action = clap::ArgAction::Set)]
    pub s1: bool,
    /// What is loaded before it is asked for: nothing (off), attributes with a listing (readdirplus), or
    /// also the directories that a walk comes to next (on; without answers of s1 as readdirplus)
    #[arg(long, value_name = "WHAT", default_value = "on", value_parser = values::s2)]
    pub s2: S2,
    /// Whether adjacent reads and writes of a file that wait in a queue at one time are served by one lower
    /// read or write (uring and shm)
    #[arg(long, value_name = "SWITCH", default_value = "on", value_parser = values::switch, action = clap::ArgAction::Set)]
    pub s5: bool,
    /// How many answers of s1 are kept, 1 to 4194304; each takes 320 bytes
    #[arg(long, value_name = "NUMBER", default_value = "65536", value_parser = ranges::s1_entries)]
    pub s1_entries: u32,
    /// Whether a kernel program renews untrue attributes from replies, in place of the daemon
    #[arg(long, value_name = "SWITCH", default_value = "off", value_parser = values::switch, action = clap::ArgAction::Set)]
    pub s6: bool,
    /// Refuse lookups of this name with this errno (a number, or a name like EACCES, the default); with
    /// ENOENT the name seems free, and can be made
    #[arg(long, value_name = "NAME[=ERRNO]", action = clap::ArgAction::Append, value_parser = values::deny)]
    pub deny: Vec<Denied>,
    /// Rules for requests, by this TOML file (docs/guide.md); 'shmfuse rules' changes them later
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rules: Option<PathBuf>,
    /// End the mount when a request has had no answer for so many seconds, 1 to 65535; the kernel looks
    /// every 15 seconds. A lock that is waited for is a request, too [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub request_timeout: Option<NonZero<u16>>,
    /// Tell numbers for Prometheus at this port of 127.0.0.1, or at ADDRESS:PORT
    #[arg(long, value_name = "PORT", value_parser = values::address)]
    pub metrics: Option<SocketAddr>,
    /// How much to log
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,
    /// Log lines of text, or JSON objects a line
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,
    /// Log to this file [default: stderr with -f, else syslog, or the kernel log where there is
    /// no syslog]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,
    /// Bytes of each payload of shm that kernel programs can see, a multiple of 4K from 4K to 1M; the
    /// rest lies in memory that the kernel copies to and from faster
    #[arg(long, value_name = "BYTES", default_value = "4K", value_parser = values::head_len)]
    pub head_len: usize,
    /// Most memory that rings and payloads of shm may take, in bytes; K, M and G may follow the
    /// number. What does not fit makes the queues less deep [default: a quarter of the machine's]
    #[arg(long, value_name = "BYTES", value_parser = values::memory)]
    pub memory_max: Option<u64>,
    /// Requests that take longer than this (us, ms, s) go to threads of their own when it happens again,
    /// so that others need not wait for a slow file; 0s: never
    #[arg(long, value_name = "TIME", default_value = "2ms", value_parser = values::time)]
    pub slow_after: Duration,
    /// Hidden.
    #[command(flatten)]
    pub tests: TestArgs,
}

const AFTER_HELP: &str = "\
Mount options (-o), defaults in brackets:
  ro, rw [rw]                    no changes, or changes
  allow_other                    users other than the one who mounts may enter; when not root,
                                 /etc/fuse.conf must have user_allow_other
  default_permissions [on], nodefault_permissions
                                 the kernel checks permissions by mode and ACL
  suid, nosuid [nosuid]          set-user-id programs take effect (root only)
  dev, nodev [nodev]             device files work (root only)
  exec, noexec [exec]            programs can be executed
  noatime, nodiratime, sync, dirsync
                                 as in mount(8)
  fsname=NAME [LOWER]            shown as the source in /proc/mounts
  max_read=BYTES                 largest read request; K and M may follow the number
  each long option above         transport=uring,cache=ttl=1
  user, auto, nofail, _netdev, x-* and other options of mount(8) and fstab are passed over.

The same from mount(8) and from /etc/fstab:
  mount -t fuse.shmfuse LOWER MOUNTPOINT -o transport=uring,cache=ttl=1,allow_other
  LOWER  MOUNTPOINT  fuse.shmfuse  cache=ttl=1,allow_other,nofail  0  0

Exit status: 0 when the mount answers (with -f: when it has been unmounted), 1 when it cannot be
made, 2 when the command is called wrongly.";

/// `shmfuse mount` alone, so that its arguments can be parsed a second time.
#[derive(Parser, Debug)]
#[command(name = "shmfuse mount", version)]
struct MountCommand {
    #[command(flatten)]
    args: MountArgs,
}

/// Arguments with their `-o` lists sorted.
#[derive(Debug)]
pub struct Parsed {
    /// Options of the command, those given by `-o` included.
    pub args: MountArgs,
    /// Options of the mount.
    pub options: MountOptions,
}

/// Parses what follows `shmfuse mount`. What `-o` says of long options is put in front, so that
/// an option given by itself wins. None if help was asked for, and printed.
///
/// # Errors
///
/// What is wrong with the arguments.
pub fn parse(rest: &[OsString], sloppy: bool) -> Result<Option<Parsed>, Failure> {
    let name = OsString::from("shmfuse mount");
    let line = |front: &[OsString]| -> Vec<OsString> {
        [std::slice::from_ref(&name), front, rest].concat()
    };
    let Some(first) = usage::parse::<MountCommand>(&line(&[]))? else {
        return Ok(None);
    };
    let list = options::split(&first.args.options.join(","));
    let sorted = options::sort(&list, &long_options(), sloppy)?;
    let args = if sorted.arguments.is_empty() {
        first.args
    } else {
        match usage::parse::<MountCommand>(&line(&sorted.arguments))? {
            Some(second) => second.args,
            None => return Ok(None),
        }
    };
    Ok(Some(Parsed {
        args,
        options: sorted.mount,
    }))
}

fn long_options() -> Vec<LongOption> {
    MountCommand::command()
        .get_arguments()
        .filter_map(|argument| {
            Some(LongOption {
                name: argument.get_long()?.to_owned(),
                takes_value: argument.get_action().takes_values(),
            })
        })
        .collect()
}

/// Mounts, by arguments that begin with `shmfuse mount`.
///
/// # Errors
///
/// Why there is no mount.
pub fn run(args: &[OsString]) -> Outcome {
    match parse(args.get(2..).unwrap_or_default(), false)? {
        None => Ok(()),
        Some(parsed) => start(parsed),
    }
}

/// Mounts as parsed: returns when the mount answers, or with `--foreground` when it has ended.
///
/// # Errors
///
/// Why there is no mount.
pub fn start(parsed: Parsed) -> Outcome {
    let foreground = parsed.args.foreground;
    let (level, format) = (parsed.args.log_level, parsed.args.log_format);
    let log_file = parsed.args.log_file.as_deref().map(log::open).transpose()?;
    let config = parsed.check()?;
    let target = match (log_file, foreground) {
        (Some(file), _) => log::Target::File(file),
        (None, true) => log::Target::Stderr,
        (None, false) => log::Target::System,
    };
    if foreground {
        log::start(target, level, format);
        supervise::run(config, lifecycle::Announce::Log)?;
        return Ok(());
    }
    daemonize::run(&config.mountpoint.clone(), |report| {
        log::start(target, level, format);
        supervise::run(config, lifecycle::Announce::Parent(report))
    })?;
    Ok(())
}

impl Parsed {
    /// Makes the configuration that everything else relies on.
    ///
    /// # Errors
    ///
    /// A directory that is missing or none, a mountpoint where shmfuse is mounted already.
    pub fn check(self) -> Result<Config> {
        let Self { args, options } = self;
        let mountpoint = mountpoint(&args.mountpoint)?;
        let lower = directory(&args.lower, "the lower directory")?;
        Ok(Config {
            lower_stack_depth: stack_depth(&lower)?,
            lower,
            mountpoint,
            transport: args.transport,
            data: kept_pages_data(&args)?,
            no_open: args.no_open,
            locks: args.locks,
            writeback: args.writeback,
            engine: args.engine,
            poll_idle_ms: args.poll_idle_ms,
            cache: args.cache,
            unproven: false,
            threads: args.threads.unwrap_or_else(default_threads),
            queue_depth: args.queue_depth,
            max_write: args.max_write,
            max_background: args.max_background,
            mount: options,
            head_len: args.head_len,
            memory_max: args.memory_max,
            s1: args.s1,
            s2: args.s2,
            s5: args.s5,
            s1_entries: args.s1_entries,
            s6: args.s6,
            deny: args.deny,
            rules: args.rules.as_deref().map(Spec::read).transpose()?,
            request_timeout: args.request_timeout,
            metrics: args.metrics,
            slow_after: Some(args.slow_after).filter(|time| !time.is_zero()),
            supervise: args.supervise,
            replaces: None,
            program: Some("/proc/self/exe".into()),
            lower_delay: args.tests.lower_delay,
            reply_delay: args.tests.reply_delay,
            selftest_misses: args.tests.selftest_misses,
        })
    }
}

/// How data travels, given that pages may be kept: kernel passthrough goes past them, and what is
/// asked for each time cannot be kept.
fn kept_pages_data(args: &MountArgs) -> Result<DataChoice> {
    let option = match (args.no_open, args.writeback) {
        (true, _) => "--no-open",
        (_, true) => "--writeback",
        _ => return Ok(args.data),
    };
    if args.data == DataChoice::Passthrough {
        let why = "it keeps pages, and with '--data passthrough' there are none to keep";
        let remedy = "leave out one of the two";
        return Err(Error::refused(option, why, remedy));
    }
    if args.cache != CachePolicy::Coherent && args.cache.ttl().is_zero() {
        let why = "it keeps what '--cache strict' asks for each time";
        let remedy = "add '--cache coherent' or '--cache ttl=SECONDS'";
        return Err(Error::refused(option, why, remedy));
    }
    Ok(DataChoice::Copy)
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cpus| cpus.get().clamp(2, 1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{S2, TransportKind};
    use std::path::Path;

    fn parsed(line: &str) -> Result<Parsed, Failure> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&args, false).map(|parsed| parsed.expect("help was not asked for"))
    }

    #[test]
    fn every_long_option_is_an_o_key() {
        let line = "/a /b -o transport=uring,data=copy,cache=ttl=1.5,threads=3,queue_depth=4,\
                    max-write=64K,max_background=7,log-level=debug,log_file=/x,foreground,\
                    head_len=8K,memory_max=1G,lower_delay=5ms:x*,s1=off,s1_entries=9,s2=off,\
                    s5=off,s6=on,deny=core=EPERM";
        let args = parsed(line).unwrap().args;
        assert_eq!(args.transport, TransportChoice::Only(TransportKind::Uring));
        assert_eq!(args.data, DataChoice::Copy);
        assert_eq!(args.cache, CachePolicy::Ttl(Duration::from_millis(1500)));
        assert_eq!((args.threads, args.queue_depth), (Some(3), 4));
        assert_eq!((args.max_write, args.max_background), (64 << 10, 7));
        assert_eq!(args.log_file.as_deref(), Some(Path::new("/x")));
        assert_eq!((args.head_len, args.memory_max), (8192, Some(1 << 30)));
        assert_eq!(args.tests.lower_delay, values::delay("5ms:x*").ok());
        assert_eq!((args.s1, args.s1_entries), (false, 9));
        assert!(args.s2 == S2::Off && !args.s5 && args.s6);
        assert_eq!(args.deny, [values::deny("core=EPERM").unwrap()]);
        assert!(args.foreground);
    }

    #[test]
    fn every_transport_is_taken_by_its_name() {
        for kind in TransportKind::ALL {
            let line = format!("/a /b --transport {}", kind.name());
            let args = parsed(&line).unwrap().args;
            assert_eq!(args.transport, TransportChoice::Only(kind));
        }
        let args = parsed("/a /b --transport auto").unwrap().args;
        assert_eq!(args.transport, TransportChoice::Auto);
        assert!(parsed("/a /b --transport Classic").is_err());
    }

    #[test]
    fn an_option_by_itself_wins_over_the_same_in_an_o_list() {
        let args = parsed("--data copy /a /b -o data=passthrough")
            .unwrap()
            .args;
        assert_eq!(args.data, DataChoice::Copy);
    }

    #[test]
    fn several_o_lists_are_one() {
        let options = parsed("/a /b -o ro -o allow_other,noexec").unwrap().options;
        assert!(options.read_only && options.allow_other && !options.exec);
    }

    #[test]
    fn a_bad_value_is_a_failure_and_a_missing_argument_is_wrong_usage() {
        assert!(matches!(
            parsed("/a /b --threads 0"),
            Err(Failure::Failed(_))
        ));
        assert!(matches!(
            parsed("/a /b -o threads=0"),
            Err(Failure::Failed(_))
        ));
        assert!(matches!(parsed("/a"), Err(Failure::Usage(_))));
        assert!(matches!(parsed("/a /b --wizardry"), Err(Failure::Usage(_))));
    }

    #[test]
    fn the_definitions_are_consistent() {
        MountCommand::command().debug_assert();
        super::super::Cli::command().debug_assert();
    }

    proptest::proptest! {
        #[test]
        fn no_arguments_make_parsing_panic(args in proptest::collection::vec(".*", 0..6)) {
            let args: Vec<_> = args.into_iter().map(OsString::from).collect();
            let _ = parse(&args, false);
        }

        #[test]
        fn no_o_list_makes_parsing_panic(list in ".*", sloppy: bool) {
            let args: Vec<_> = ["/a", "/b", "-o", &list].map(OsString::from).into();
            let _ = parse(&args, sloppy);
        }
    }
}
