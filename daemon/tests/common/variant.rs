//! The ways to mount: transport x data x cache, and a plain bind mount that shows that a test
//! itself is right.

use std::fs;

/// How requests reach the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// `--transport classic`
    Classic,
    /// `--transport splice`
    Splice,
    /// `--transport uring`
    Uring,
    /// `--transport shm --engine worker`
    Shm,
    /// `--transport shm --engine kernel`
    ShmKernel,
}

impl Transport {
    /// As in the names of the tests.
    const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Splice => "splice",
            Self::Uring => "uring",
            Self::Shm => "shm",
            Self::ShmKernel => "shm_kernel",
        }
    }

    /// `--transport`, and `--engine` where there is a choice.
    const fn options(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Shm => ("shm", Some("worker")),
            Self::ShmKernel => ("shm", Some("kernel")),
            _ => (self.name(), None),
        }
    }
}

/// How file data reaches applications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// `--data copy`
    Copy,
    /// `--data passthrough`
    Passthrough,
    /// `--data auto`: passthrough, but for small files that are read again
    Auto,
    /// `--no-open`
    NoOpen,
    /// `--no-open --writeback`
    Writeback,
}

/// How long the kernel believes what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// `--cache strict`
    Strict,
    /// `--cache ttl=1`
    Ttl1,
    /// `--cache coherent`
    Coherent,
}

/// One way to mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// A bind mount of the lower directory. What fails here is the test's fault.
    Native,
    /// The daemon.
    Daemon {
        /// `--transport`
        transport: Transport,
        /// `--data`
        data: Data,
        /// `--cache`
        cache: Cache,
    },
}

impl Variant {
    /// `--transport classic --data copy --cache strict`
    pub const CLASSIC_COPY: Self = Self::strict(Transport::Classic, Data::Copy);
    /// `--transport classic --data passthrough --cache strict`
    pub const CLASSIC_PASSTHROUGH: Self = Self::strict(Transport::Classic, Data::Passthrough);
    /// `--transport splice --data copy --cache strict`
    pub const SPLICE_COPY: Self = Self::strict(Transport::Splice, Data::Copy);
    /// `--transport splice --data passthrough --cache strict`
    pub const SPLICE_PASSTHROUGH: Self = Self::strict(Transport::Splice, Data::Passthrough);
    /// `--transport uring --data copy --cache strict`
    pub const URING_COPY: Self = Self::strict(Transport::Uring, Data::Copy);
    /// `--transport uring --data passthrough --cache strict`
    pub const URING_PASSTHROUGH: Self = Self::strict(Transport::Uring, Data::Passthrough);
    /// `--transport shm --data copy --cache strict`
    pub const SHM_COPY: Self = Self::strict(Transport::Shm, Data::Copy);
    /// `--transport shm --data passthrough --cache strict`
    pub const SHM_PASSTHROUGH: Self = Self::strict(Transport::Shm, Data::Passthrough);
    /// `--transport shm --engine kernel --data copy --cache strict`
    pub const SHM_KERNEL_COPY: Self = Self::strict(Transport::ShmKernel, Data::Copy);
    /// `--transport shm --engine kernel --data passthrough --cache strict`
    pub const SHM_KERNEL_PASSTHROUGH: Self = Self::strict(Transport::ShmKernel, Data::Passthrough);

    /// `--transport uring --data auto --cache ttl=1`
    pub const URING_AUTO: Self = Self::ttl1(Transport::Uring, Data::Auto);
    /// `--transport uring --no-open --cache ttl=1`
    pub const URING_NO_OPEN: Self = Self::ttl1(Transport::Uring, Data::NoOpen);
    /// `--transport shm --no-open --writeback --cache ttl=1`
    pub const SHM_WRITEBACK: Self = Self::ttl1(Transport::Shm, Data::Writeback);

    const fn ttl1(transport: Transport, data: Data) -> Self {
        Self::Daemon {
            transport,
            data,
            cache: Cache::Ttl1,
        }
    }

    const fn strict(transport: Transport, data: Data) -> Self {
        Self::Daemon {
            transport,
            data,
            cache: Cache::Strict,
        }
    }

    /// The same with names and attributes believed for a second.
    pub fn cached(mut self) -> Self {
        if let Self::Daemon { cache, .. } = &mut self {
            *cache = Cache::Ttl1;
        }
        self
    }

    /// The same with names and attributes believed until they are revoked.
    pub fn coherent(mut self) -> Self {
        if let Self::Daemon { cache, .. } = &mut self {
            *cache = Cache::Coherent;
        }
        self
    }

    /// As in the names of the tests.
    pub fn name(self) -> String {
        match self {
            Self::Native => "native".into(),
            Self::Daemon {
                transport,
                data,
                cache,
            } => format!("{}_{data:?}_{cache:?}", transport.name()).to_lowercase(),
        }
    }

    /// Options of `shmfuse mount`.
    pub fn args(self) -> Vec<String> {
        let Self::Daemon {
            transport,
            data,
            cache,
        } = self
        else {
            return Vec::new();
        };
        let cache = match cache {
            Cache::Strict => "strict",
            Cache::Ttl1 => "ttl=1",
            Cache::Coherent => "coherent",
        };
        let (data, kept): (&str, &[&str]) = match data {
            Data::Copy => ("copy", &[]),
            Data::Passthrough => ("passthrough", &[]),
            Data::Auto => ("auto", &[]),
            Data::NoOpen => ("copy", &["--no-open"]),
            Data::Writeback => ("copy", &["--no-open", "--writeback"]),
        };
        let (transport, engine) = transport.options();
        let args = ["--transport", transport, "--data", data, "--cache", cache];
        let engine = engine.iter().flat_map(|engine| ["--engine", engine]);
        let args = args.into_iter().chain(engine).chain(kept.iter().copied());
        args.map(Into::into).collect()
    }

    /// Whether data goes past the daemon.
    pub fn is_passthrough(self) -> bool {
        matches!(
            self,
            Self::Daemon {
                data: Data::Passthrough | Data::Auto,
                ..
            }
        )
    }

    /// Whether names and attributes are believed for a while.
    pub fn is_cached(self) -> bool {
        matches!(
            self,
            Self::Daemon {
                cache: Cache::Ttl1 | Cache::Coherent,
                ..
            }
        )
    }

    /// Whether this machine can run the variant.
    ///
    /// # Errors
    ///
    /// The reason why not.
    pub fn available(self) -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("needs root".into());
        }
        let Self::Daemon { transport, .. } = self else {
            return Ok(());
        };
        if !fs::exists("/dev/fuse").unwrap_or(false) {
            return Err("there is no /dev/fuse".into());
        }
        if matches!(
            transport,
            Transport::Uring | Transport::Shm | Transport::ShmKernel
        ) {
            let switch = "/sys/module/fuse/parameters/enable_uring";
            match fs::read_to_string(switch) {
                Ok(text) if text.trim() == "Y" => {}
                Ok(_) => fs::write(switch, "Y").map_err(|error| {
                    format!("FUSE over io_uring is off and {switch} cannot be set: {error}")
                })?,
                Err(error) => return Err(format!("{switch}: {error}")),
            }
        }
        Ok(())
    }
}

/// Makes a module of tests for one variant: `variant_tests!(name, VARIANT, runner, [tests])`. Those whose
/// name begins with `full_run_` are left out by `cargo xtask test` but for its full run.
macro_rules! variant_tests {
    ($module:ident, $variant:expr, $runner:ident, [$($test:ident),* $(,)?]) => {
        mod $module {
            use crate::common::Variant;
            $(
                #[test]
                #[ignore = "root"]
                fn $test() {
                    crate::common::$runner($variant, stringify!($test), super::$test);
                }
            )*
        }
    };
}

/// Makes every test listed into one test per variant: the bind mount, the daemon with each transport
/// and data mode, strict, and two of them cached (what the kernel believes, and for how long, is no
/// matter of the transport).
macro_rules! for_every_variant {
    ($runner:ident, $tests:tt) => {
        variant_tests!(native, Variant::Native, $runner, $tests);
        for_every_daemon_variant!($runner, $tests);
        variant_tests!(
            classic_copy_ttl1,
            Variant::CLASSIC_COPY.cached(),
            $runner,
            $tests
        );
        variant_tests!(uring_auto_ttl1, Variant::URING_AUTO, $runner, $tests);
        variant_tests!(uring_noopen_ttl1, Variant::URING_NO_OPEN, $runner, $tests);
    };
}

/// The same, and with write-back by the kernel: for tests that nobody disturbs from below, and that do
/// not look at what only the lower file system decides.
macro_rules! for_every_variant_and_writeback {
    ($runner:ident, $tests:tt) => {
        for_every_variant!($runner, $tests);
        variant_tests!(shm_writeback_ttl1, Variant::SHM_WRITEBACK, $runner, $tests);
    };
}

/// The same with the daemon only, strict.
macro_rules! for_every_daemon_variant {
    ($runner:ident, $tests:tt) => {
        variant_tests!(classic_copy_strict, Variant::CLASSIC_COPY, $runner, $tests);
        variant_tests!(
            classic_passthrough_strict,
            Variant::CLASSIC_PASSTHROUGH,
            $runner,
            $tests
        );
        variant_tests!(splice_copy_strict, Variant::SPLICE_COPY, $runner, $tests);
        variant_tests!(
            splice_passthrough_strict,
            Variant::SPLICE_PASSTHROUGH,
            $runner,
            $tests
        );
        variant_tests!(uring_copy_strict, Variant::URING_COPY, $runner, $tests);
        variant_tests!(
            uring_passthrough_strict,
            Variant::URING_PASSTHROUGH,
            $runner,
            $tests
        );
        variant_tests!(shm_copy_strict, Variant::SHM_COPY, $runner, $tests);
        variant_tests!(
            full_run_shm_kernel_copy_strict,
            Variant::SHM_KERNEL_COPY,
            $runner,
            $tests
        );
        variant_tests!(
            shm_passthrough_strict,
            Variant::SHM_PASSTHROUGH,
            $runner,
            $tests
        );
        variant_tests!(
            full_run_shm_kernel_passthrough_strict,
            Variant::SHM_KERNEL_PASSTHROUGH,
            $runner,
            $tests
        );
    };
}

/// The same with each transport once: for tests in which no file data moves.
macro_rules! for_every_transport {
    ($runner:ident, $tests:tt) => {
        variant_tests!(classic_copy_strict, Variant::CLASSIC_COPY, $runner, $tests);
        variant_tests!(splice_copy_strict, Variant::SPLICE_COPY, $runner, $tests);
        variant_tests!(uring_copy_strict, Variant::URING_COPY, $runner, $tests);
        variant_tests!(shm_copy_strict, Variant::SHM_COPY, $runner, $tests);
        variant_tests!(
            shm_kernel_copy_strict,
            Variant::SHM_KERNEL_COPY,
            $runner,
            $tests
        );
    };
}

/// The same with the shm transport only.
macro_rules! for_every_shm_variant {
    ($runner:ident, $tests:tt) => {
        variant_tests!(shm_copy_strict, Variant::SHM_COPY, $runner, $tests);
        variant_tests!(
            shm_kernel_copy_strict,
            Variant::SHM_KERNEL_COPY,
            $runner,
            $tests
        );
        variant_tests!(
            shm_passthrough_strict,
            Variant::SHM_PASSTHROUGH,
            $runner,
            $tests
        );
        variant_tests!(
            full_run_shm_kernel_passthrough_strict,
            Variant::SHM_KERNEL_PASSTHROUGH,
            $runner,
            $tests
        );
    };
}

/// Makes every test listed into one for each engine.
macro_rules! with_each_engine {
    ($tests:tt) => {
        variant_tests!(worker, Variant::SHM_COPY, on_variant, $tests);
        variant_tests!(kernel, Variant::SHM_KERNEL_COPY, on_variant, $tests);
    };
}
