//! The file system: every operation on the lower directory.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`creds`] | acting as the caller: fsuid, fsgid, groups, umask, CAP_FSETID of one thread |

pub mod backing_table;
pub mod creds;
pub mod handle_table;
pub mod lock_ranges;
pub mod lock_table;
pub mod open_file;
