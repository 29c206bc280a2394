//! Memory files of a fixed length: what the daemon maps, others may open, and nobody can cut.
//!
//! A page of a mapping behind the end of its file is a SIGBUS for who touches it (mmap(2)). So these files
//! are sealed: their length never changes, and that cannot be taken back (fcntl(2), "File Sealing").

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::{io, os::fd::OwnedFd};

/// A memory file of `len` zero bytes, called `name` in /proc.
///
/// # Errors
///
/// What memfd_create(2), ftruncate(2) and fcntl(2) say.
pub fn memory_file(name: &str, len: u64) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::{fs::fcntl_get_seals, io::Errno};

    #[test]
    fn a_memory_file_keeps_its_length_and_its_seals() {
        let file = memory_file("test", 4096).unwrap();
        for len in [0, 4095, 4097] {
            assert_eq!(ftruncate(&file, len), Err(Errno::PERM));
        }
        assert_eq!(rustix::io::pwrite(&file, b"x", 0), Ok(1));
        assert_eq!(rustix::io::pwrite(&file, b"x", 4096), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&file, SealFlags::WRITE), Err(Errno::PERM));
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        assert_eq!(fcntl_get_seals(&file), Ok(seals));
    }
}
