//! Things that change by counting, and what of them can be seen.
//!
//! Each slot has one writer, who moves it from state to state, and says before and after each move how
//! far it is. So whoever looks knows between which states what is seen must lie.

use std::{
    fs::{self, File, FileTimes, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

/// What a slot counts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The modification time of a file, in seconds.
    Time,
    /// The size of a file that is appended to.
    Size,
    /// The mode of a file, modulo 512.
    Mode,
    /// A name that is there in odd states.
    Name,
    /// A file that is replaced; its time is the state.
    Replaced,
    /// A file that lies in one directory in even states, in another in odd ones.
    Moved,
    /// The target of a link that is replaced.
    Target,
    /// An extended attribute.
    Xattr,
    /// Eight bytes in a file.
    Content,
    /// Links of a file: one in even states, two in odd ones.
    Links,
    /// A directory that is there in odd states.
    Directory,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Time,
        Self::Size,
        Self::Mode,
        Self::Name,
        Self::Replaced,
        Self::Moved,
        Self::Target,
        Self::Xattr,
        Self::Content,
        Self::Links,
        Self::Directory,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// State 0, below.
    pub fn prepare(self, root: &Path) {
        for dir in ["even", "odd"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let path = root.join(self.name());
        match self {
            Self::Name | Self::Directory => {}
            Self::Moved => {
                fs::write(root.join("even").join(self.name()), "").unwrap();
            }
            Self::Target => symlink("0", path).unwrap(),
            _ => {
                fs::write(&path, "").unwrap();
                set_time(&path, 0).unwrap();
                if self == Self::Content {
                    fs::write(&path, 0_u64.to_ne_bytes()).unwrap();
                }
                fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
            }
        }
    }

    /// From state `to - 1` to state `to`, by way of `root`.
    pub fn advance(self, root: &Path, to: u64) -> io::Result<()> {
        let path = root.join(self.name());
        let other = root.join(format!("{}.other", self.name()));
        match self {
            Self::Time => set_time(&path, to),
            Self::Size => {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.write_all_at(b"x", to - 1)
            }
            Self::Mode => {
                let mode = fs::Permissions::from_mode((to % 512) as u32);
                fs::set_permissions(&path, mode)
            }
            Self::Name if to % 2 == 1 => File::create_new(&path).map(drop),
            Self::Name => fs::remove_file(&path),
            Self::Directory if to % 2 == 1 => fs::create_dir(&path),
            Self::Directory => fs::remove_dir(&path),
            Self::Replaced => {
                let _ = fs::remove_file(&other);
                File::create_new(&other)?;
                set_time(&other, to)?;
                fs::rename(&other, &path)
            }
            Self::Moved => {
                let (from, into) = if to % 2 == 1 {
                    ("even", "odd")
                } else {
                    ("odd", "even")
                };
                let name = self.name();
                fs::rename(root.join(from).join(&name), root.join(into).join(&name))
            }
            Self::Target => {
                let _ = fs::remove_file(&other);
                symlink(to.to_string(), &other)?;
                fs::rename(&other, &path)
            }
            Self::Xattr => {
                let flags = rustix::fs::XattrFlags::empty();
                let value = to.to_string();
                Ok(rustix::fs::setxattr(
                    &path,
                    c"user.k",
                    value.as_bytes(),
                    flags,
                )?)
            }
            Self::Content => {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.write_all_at(&to.to_ne_bytes(), 0)
            }
            Self::Links if to % 2 == 1 => fs::hard_link(&path, &other),
            Self::Links => fs::remove_file(&other),
        }
    }

    /// What is seen of it by way of `root`. `choice` picks among several ways to look.
    pub fn look(self, root: &Path, choice: u64) -> io::Result<Sight> {
        let path = root.join(self.name());
        let there = |present: bool| Sight::Parity(u64::from(present));
        Ok(match self {
            Self::Time | Self::Replaced => Sight::State(fs::metadata(&path)?.mtime() as u64),
            Self::Size if choice.is_multiple_of(2) => Sight::State(fs::read(&path)?.len() as u64),
            Self::Size => Sight::State(fs::metadata(&path)?.len()),
            Self::Mode => Sight::Modulo512(u64::from(fs::metadata(&path)?.mode() % 512)),
            Self::Name | Self::Directory if choice.is_multiple_of(2) => {
                there(lists(root, &self.name())?)
            }
            Self::Name | Self::Directory => there(exists(&path)?),
            Self::Moved => {
                let place = ["even", "odd"][(choice % 2) as usize];
                let present = match (choice / 2) % 2 {
                    0 => exists(&root.join(place).join(self.name()))?,
                    _ => lists(&root.join(place), &self.name())?,
                };
                there(present == (place == "odd"))
            }
            Self::Target => {
                Sight::State(number(fs::read_link(&path)?.as_os_str().as_encoded_bytes()))
            }
            Self::Xattr => {
                let mut value = [0; 32];
                match rustix::fs::getxattr(&path, c"user.k", &mut value[..]) {
                    Ok(len) => Sight::State(number(&value[..len])),
                    Err(rustix::io::Errno::NODATA) => Sight::State(0),
                    Err(errno) => return Err(errno.into()),
                }
            }
            Self::Content => {
                let mut bytes = [0; 8];
                File::open(&path)?.read_exact_at(&mut bytes, 0)?;
                Sight::State(u64::from_ne_bytes(bytes))
            }
            Self::Links => Sight::Parity((fs::metadata(&path)?.nlink() + 1) % 2),
        })
    }
}

/// What can be told of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// All of it.
    State(u64),
    /// Whether it is odd.
    Parity(u64),
    /// Its remainder.
    Modulo512(u64),
}

impl Sight {
    /// Whether a state from `first` to `last` looks so.
    pub fn is_of(self, first: u64, last: u64) -> bool {
        match self {
            Self::State(state) => (first..=last).contains(&state),
            Self::Parity(parity) => last > first || first % 2 == parity,
            Self::Modulo512(rest) => {
                last - first >= 511 || (first..=last).any(|state| state % 512 == rest)
            }
        }
    }
}

fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    OpenOptions::new().write(true).open(path)?.set_times(times)
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn lists(dir: &Path, name: &str) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir(dir)? {
        found |= entry?.file_name() == name;
    }
    Ok(found)
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}
