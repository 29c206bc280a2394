//! How much of a long test to run: `SHMFUSE_TEST_SCALE`, 1 by default, 20 in the full run.

use std::{env, sync::LazyLock};

static FACTOR: LazyLock<u64> = LazyLock::new(|| match env::var("SHMFUSE_TEST_SCALE") {
    Ok(text) => text
        .parse()
        .ok()
        .filter(|factor| (1..=1000).contains(factor))
        .unwrap_or_else(|| panic!("SHMFUSE_TEST_SCALE={text}: not a number from 1 to 1000")),
    Err(_) => 1,
});

/// What counts of repetitions are to be multiplied by, 1 ..= 1000.
pub fn factor() -> u64 {
    *FACTOR
}
