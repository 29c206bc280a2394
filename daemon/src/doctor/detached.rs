//! Kernel file systems looked into without mounting them: fsopen(2) and fsmount(2) give a mount
//! that only its descriptor leads to.

use rustix::{
    fs::{Dir, Mode, OFlags, openat},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
};

/// The root of a kernel file system.
#[derive(Debug)]
pub struct Detached {
    root: OwnedFd,
}

impl Detached {
    /// Makes one of this type: `tracefs`, `securityfs`.
    ///
    /// # Errors
    ///
    /// `EPERM` without CAP_SYS_ADMIN, `ENODEV` if the kernel has none.
    pub fn of(fs_type: &str) -> Result<Self, Errno> {
        let context = fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        Ok(Self { root })
    }

    /// The contents of a file in it.
    ///
    /// # Errors
    ///
    /// What open(2) and read(2) say.
    pub fn read(&self, path: &str) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut text = String::new();
        File::from(openat(&self.root, path, flags, Mode::empty())?).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Whether it has this directory.
    pub fn has_directory(&self, path: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.root, path, flags, Mode::empty())
            .and_then(Dir::read_from)
            .is_ok()
    }
}
