//! Operations and bytes for property tests and fuzzing.
