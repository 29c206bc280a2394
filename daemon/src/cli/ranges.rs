//! Numbers that options take, each within its range.

use super::values::within;

/// `--threads`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn threads(text: &str) -> Result<usize, String> {
    within(text, 1..=1024).map(|number| number as usize)
}

/// `--queue-depth`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn queue_depth(text: &str) -> Result<usize, String> {
    within(text, 1..=256).map(|number| number as usize)
}

/// `--s1-entries`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn s1_entries(text: &str) -> Result<u32, String> {
    within(text, 1..=4_194_304).map(|number| number as u32)
}

/// `--poll-idle-ms`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn poll_idle(text: &str) -> Result<u32, String> {
    within(text, 1..=60_000).map(|number| number as u32)
}

/// `--max-background`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn max_background(text: &str) -> Result<u16, String> {
    within(text, 1..=65535).map(|number| number as u16)
}
