//! The shmfuse daemon: a FUSE pass-through file system over several transports.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`answers`] | what the kernel programs may answer |
//! | [`bpf`] | the kernel programs: load them, read what they count |
//! | [`cli`] | the command line: subcommands, options, errors in one line |
//! | [`coherence`] | the kernel's caches, revoked when the lower directory changes |
//! | [`config`] | the checked configuration of one mount |
//! | [`daemonize`] | becoming a daemon, and telling the command that started it |
//! | [`delay`] | a slow lower file system, for tests |
//! | [`doctor`] | what this kernel and this user can do, and how to turn on the rest |
//! | [`error`] | errors with the thing they name and its remedy |
//! | [`fuse`] | the protocol between kernel and file system, whatever carries it |
//! | [`lifecycle`] | start, serve, quiesce, stop |
//! | [`log`] | where the log goes |
//! | [`memory_file`] | memory that others may open and nobody can cut |
//! | [`metrics`] | numbers for Prometheus |
//! | [`mount`] | mounting and unmounting, by the kernel or by fusermount3; the mount table |
//! | [`passthrough`] | the file system: every operation on the lower directory |
//! | [`privilege`] | what the threads of a mount let go of once it is set up |
//! | [`probe`] | whether a mount answers |
//! | [`rules`] | rules: what is to become of requests, by a file |
//! | [`select`] | which transport serves a mount |
//! | [`serve`] | the transports: classic, splice, uring, shm |
//! | [`stat`] | what `shmfuse stat` shows |
//! | [`supervise`] | the parent process that replaces a daemon which died |
//! | [`transform`] | attributes shown otherwise than they are below |
//! | [`top`] | what `shmfuse top` shows |
//! | [`trace`] | what `shmfuse trace` shows |
//! | [`signals`] | the signals that end a mount |
//!
//! Dependencies point downwards: `passthrough` knows [`fuse`] but no transport; `serve` knows
//! [`fuse`] but not what file system it serves.

pub mod answers;
pub mod bpf;
pub mod cli;
pub mod coherence;
pub mod config;
pub mod daemonize;
pub mod delay;
pub mod doctor;
pub mod error;
pub mod fuse;
pub mod lifecycle;
pub mod log;
pub mod memory_file;
pub mod metrics;
pub mod mount;
pub mod passthrough;
pub mod privilege;
pub mod probe;
pub mod rules;
pub mod select;
pub mod serve;
pub mod signals;
pub mod stat;
pub mod supervise;
pub mod top;
pub mod trace;
pub mod transform;
