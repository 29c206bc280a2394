//! Copy versus zero-copy: the same work through every way to mount a directory, side by side.
//!
//! A [`run::Plan`] is a list of groups; a group crosses [`workload`]s with [`variant`]s. Variants are
//! mounted over the same lower directory in turn, one at a time; a round runs every workload once on
//! each (A B C A B C ...), so that whatever else the machine does meets all of them alike. Only
//! ratios inside one run are compared.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`variant`] | how the directory is reached: native, our transports, any mount command |
//! | [`capability`] | what the installed `shmfuse` can be told |
//! | [`peers`] | other file systems, from a TOML file |
//! | [`ablation`] | the stages with a switch, each on and off |
//! | [`mounted`], [`watchdog`] | a variant in use, and how a hung one is ended |
//! | [`workload`] | what is done in it |
//! | [`workloads`], [`catalogue`] | which workloads and variants make up a run |
//! | [`comparison`], [`goals`] | another run, beside every setting and libfuse; which goals it meets |
//! | [`run`], `rounds`, `turn`, [`session`] | a plan; its rounds; a variant's turn; a run from plan to record |
//! | [`reserve`] | memory that stays with the machine while a run lasts |
//! | [`interrupt`] | being told to stop |
//! | [`recorder`] | what is noted of one repetition: latencies, bytes, CPU time |
//! | [`cpu`] | CPU time and context switches, by process, thread and machine |
//! | [`counting`] | requests and system calls, counted where nothing is timed |
//! | [`copies`] | copies by a CPU, by design |
//! | [`record`] | a run's files: raw.csv, latency.csv, counts.csv, run.json |
//! | [`stats`], [`summary`] | medians, spread, ratios with intervals |
//! | [`verdict`] | the questions, each with its measured ratio |
//! | [`report`], [`plot`], [`html`] | tables, SVG plots, report.html |
//! | [`document`] | tables of a run in a document |
//! | [`diff`] | two runs of one machine |
//! | [`floor`] | what the machine itself charges: system call, hand-over, copy |
//! | [`host`] | the machine a run was made on, and how quiet it was |

pub mod ablation;
pub mod capability;
pub mod catalogue;
pub mod comparison;
pub mod copies;
pub mod counting;
pub mod cpu;
pub mod diff;
pub mod document;
pub mod floor;
pub mod goals;
pub mod host;
pub mod html;
pub mod interrupt;
pub mod mounted;
pub mod peers;
pub mod plot;
pub mod record;
pub mod recorder;
pub mod report;
pub mod reserve;
mod rounds;
pub mod run;
pub mod session;
pub mod stats;
pub mod summary;
#[cfg(test)]
mod testing;
mod turn;
pub mod variant;
pub mod verdict;
pub mod watchdog;
pub mod workload;
pub mod workloads;
