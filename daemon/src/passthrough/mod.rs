//! The file system: every operation on the lower directory.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`creds`] | acting as the caller: fsuid, fsgid, groups, umask, CAP_FSETID of one thread |

pub mod creds;
