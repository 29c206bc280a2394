//! Copy versus zero-copy: the same work through every way to mount a directory, side by side.
//!
//! A [`run::Plan`] crosses [`workload`]s with [`variant`]s. All variants are mounted over the same
//! lower directory at the same time; a repetition runs the workload once on each (A B C A B C ...),
//! so that whatever else the machine does meets all of them alike. Only ratios inside one run are
//! compared.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`variant`] | how the directory is reached: native, our transports, any mount command |
//! | [`workload`] | what is done in it |
//! | [`catalogue`] | variants and workloads by name |
//! | [`recorder`] | what is noted of one repetition: latencies, bytes, CPU time |
//! | [`cpu`] | CPU time and context switches of processes, by thread |
//! | [`run`] | the plan, the interleaving, the warm-up |
//! | [`summary`] | medians, spread, ratios to a baseline with bootstrap intervals |
//! | [`report`] | tables, raw.csv, summary.json |
//! | [`floor`] | what the machine itself charges: system call, hand-over, copy |
//! | [`verdict`] | the questions, each with its measured ratio |
//! | [`plot`], [`html`] | SVG plots and report.html |
//! | [`host`] | the machine a run was made on, and how noisy it was |

pub mod catalogue;
pub mod cpu;
pub mod floor;
pub mod host;
pub mod html;
pub mod plot;
pub mod recorder;
pub mod report;
pub mod run;
pub mod summary;
pub mod variant;
pub mod verdict;
pub mod workload;
