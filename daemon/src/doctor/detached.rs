//! Kernel file systems used without mounting them: fsopen(2) and fsmount(2) give a mount that only
//! its descriptor leads to.

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, unlinkat},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
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

    /// The contents of a file in it. Read in long pieces: some of these files give only what the
    /// first read has room for (`show_header`, kernel/trace/trace_events.c).
    ///
    /// # Errors
    ///
    /// What open(2) and read(2) say; `InvalidData` if it is no text.
    pub fn read(&self, path: &str) -> io::Result<String> {
        let mut file = self.open(path)?;
        let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut piece)? {
                0 => return String::from_utf8(text).map_err(io::Error::other),
                len => text.extend(&piece[..len]),
            }
        }
    }

    /// A file in it, to be read without waiting for data.
    ///
    /// # Errors
    ///
    /// What open(2) says.
    pub fn open(&self, path: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.root, path, flags, Mode::empty())?.into())
    }

    /// Writes to a file in it, which acts on what is written.
    ///
    /// # Errors
    ///
    /// What open(2) and write(2) say.
    pub fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.root, path, flags, Mode::empty())?);
        file.write_all(text.as_bytes())
    }

    /// Makes a directory in it.
    ///
    /// # Errors
    ///
    /// What mkdir(2) says.
    pub fn make_directory(&self, path: &str) -> io::Result<()> {
        Ok(mkdirat(&self.root, path, Mode::RWXU)?)
    }

    /// Removes a directory in it.
    ///
    /// # Errors
    ///
    /// What rmdir(2) says.
    pub fn remove_directory(&self, path: &str) -> io::Result<()> {
        Ok(unlinkat(&self.root, path, AtFlags::REMOVEDIR)?)
    }

    /// The names in a directory in it.
    ///
    /// # Errors
    ///
    /// What open(2) and getdents(2) say.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = Dir::read_from(openat(&self.root, path, flags, Mode::empty())?)?;
        let mut names = Vec::new();
        for entry in dir {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether it has this directory.
    pub fn has_directory(&self, path: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.root, path, flags, Mode::empty())
            .and_then(Dir::read_from)
            .is_ok()
    }
}
