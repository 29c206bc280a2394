//! Whether a request may be waiting for a poll thread.
//!
//! The kernel tells how many requests of a connection have no answer yet (`fuse_conn_waiting_read`,
//! fs/fuse/control.c); the daemon knows how many of them it has taken. The others wait for a poll thread,
//! for an entry, or on a lane. Nothing of this is read from memory that others write.

use crate::bpf::SharedMemory;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the file system `fusectl` is mounted, if it is.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// What waits, of one mount.
pub struct Backlog {
    memory: Arc<SharedMemory>,
    /// `None`: the kernel does not tell.
    waiting: Option<File>,
}

impl Backlog {
    /// That of the mount whose device number has this minor part, by which its connection is called
    /// (`fuse_ctl_add_conn`); `None` where it is not known.
    pub fn new(memory: Arc<SharedMemory>, device_minor: Option<u32>) -> Self {
        let waiting = device_minor.and_then(|minor| {
            let path = file_of(minor);
            File::open(&path)
                .inspect_err(|error| {
                    tracing::debug!(path = %path.display(), %error, "a poll thread that does not run counts as needed");
                })
                .ok()
        });
        Self { memory, waiting }
    }

    /// Whether a request may be waiting for a poll thread; true where the kernel does not tell. A request
    /// that ends or is taken during this look may hide another one from it; the next look finds
    /// that.
    pub fn may_wait(&self) -> bool {
        let Some(file) = &self.waiting else {
            return true;
        };
        let taken = self.memory.ledger().held() as u64;
        number_in(file).is_none_or(|unanswered| unanswered > taken)
    }
}

fn file_of(minor: u32) -> PathBuf {
    Path::new(CONNECTIONS)
        .join(minor.to_string())
        .join("waiting")
}

/// `None` if there is none, as after the end of the connection.
fn number_in(file: &File) -> Option<u64> {
    let mut text = [0; 32];
    // From the beginning: there the kernel counts anew.
    let len = file.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..len)?).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn the_number_is_all_there_is_in_the_file() {
        let told = |text: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text).unwrap();
            number_in(&file)
        };
        assert_eq!(told(b"0\n"), Some(0));
        assert_eq!(told(b"128\n"), Some(128));
        for wrong in [&b""[..], b"\n", b"-1\n", b"x", b"\xff"] {
            assert_eq!(told(wrong), None);
        }
    }

    #[test]
    fn a_connection_is_called_by_its_minor_number() {
        let path = file_of(41);
        assert_eq!(path, Path::new("/sys/fs/fuse/connections/41/waiting"));
    }
}
