//! Options of `shmfuse mount` that only tests have a use for: `--help` does not show them.

use super::values;
use crate::delay::LowerDelay;
use clap::Args;

/// The options.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Slow lower operations down by a time (us, ms, s), those on files of some names only
    #[arg(long, value_name = "TIME[:NAME]", hide = true, value_parser = values::delay)]
    pub lower_delay: Option<LowerDelay>,
    /// Let a time pass between an answer and its reply
    #[arg(long, value_name = "TIME[:NAME]", hide = true, value_parser = values::delay)]
    pub reply_delay: Option<LowerDelay>,
    /// Take this kind of change for not reported in the self-test of sources of changes: chmod, create, ...
    #[arg(long, value_name = "KIND", hide = true)]
    pub selftest_misses: Option<String>,
}
