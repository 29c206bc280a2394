//! What is mounted where: `/proc/self/mountinfo`, as proc_pid_mountinfo(5) describes it.

use super::FS_TYPE;
use crate::error::{Error, Result};
use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// The device number of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DeviceNumber {
    /// 0 for file systems without a device.
    pub major: u32,
    /// Tells those apart.
    pub minor: u32,
}

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Unique while the mount exists.
    pub id: u32,
    /// The mount that this one lies on.
    pub parent: u32,
    /// Of the file system.
    pub device: DeviceNumber,
    /// Where it is.
    pub mountpoint: PathBuf,
    /// The type, with its subtype: `fuse.shmfuse`.
    pub fs_type: OsString,
    /// What the file system calls its source.
    pub source: OsString,
}

impl Mount {
    /// Whether shmfuse made it.
    pub fn is_ours(&self) -> bool {
        self.fs_type == FS_TYPE
    }
}

/// The mounts that this process sees.
#[derive(Clone, Debug)]
pub struct MountTable(Vec<Mount>);

impl MountTable {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted.
    pub fn read() -> Result<Self> {
        let path = "/proc/self/mountinfo";
        let text = std::fs::read(path).map_err(|error| {
            Error::path("cannot read", path, error).with_remedy("mount -t proc proc /proc")
        })?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &[u8]) -> Self {
        Self(
            text.split(|&byte| byte == b'\n')
                .filter_map(parse_line)
                .collect(),
        )
    }

    /// Every mount of shmfuse.
    pub fn ours(&self) -> Vec<Mount> {
        self.0
            .iter()
            .filter(|mount| mount.is_ours())
            .cloned()
            .collect()
    }

    /// The mount that is seen at exactly this absolute path without symbolic links: of several
    /// the topmost one.
    pub fn top(&self, mountpoint: &Path) -> Option<&Mount> {
        let here = |mount: &&Mount| mount.mountpoint == mountpoint;
        let lowest_first: Vec<_> = self.0.iter().filter(here).collect();
        lowest_first
            .iter()
            .copied()
            .find(|mount| !lowest_first.iter().any(|other| other.parent == mount.id))
    }

    /// Whether anything is mounted in this directory (an absolute path without symbolic links), itself
    /// left out.
    pub fn has_below(&self, directory: &Path) -> bool {
        self.0
            .iter()
            .any(|mount| mount.mountpoint != directory && mount.mountpoint.starts_with(directory))
    }

    /// Whether this file system is mounted anywhere.
    pub fn has(&self, device: DeviceNumber) -> bool {
        self.0.iter().any(|mount| mount.device == device)
    }

    /// The mount at a path as a user writes it. The last component is not touched: a mount whose
    /// daemon has died, or hangs, is found all the same. Only if nothing is mounted at the path
    /// as written are symbolic links in its last component followed.
    pub fn resolve(&self, path: &Path) -> Option<&Mount> {
        let absolute = std::path::absolute(path).ok()?;
        let written = match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) => parent.canonicalize().ok().map(|dir| dir.join(name)),
            _ => None,
        };
        written
            .and_then(|path| self.top(&path))
            .or_else(|| self.top(&path.canonicalize().ok()?))
    }
}

/// The error for a mountpoint where shmfuse is mounted already.
pub fn already_mounted(mount: &Mount) -> Error {
    let place = mount.mountpoint.display();
    Error::refused(
        place.to_string(),
        format!(
            "shmfuse is mounted there already, of {}",
            mount.source.display()
        ),
        format!("shmfuse umount {place}"),
    )
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = fields.next()?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let _root = fields.next()?;
    let mountpoint = unescape(fields.next()?);
    // Behind the options stand any number of optional fields, up to a lone hyphen.
    fields.find(|&field| field == b"-")?;
    Some(Mount {
        id,
        parent,
        device: DeviceNumber {
            major: number(&device[..colon])?,
            minor: number(&device[colon + 1..])?,
        },
        mountpoint: mountpoint.into(),
        fs_type: unescape(fields.next()?),
        source: unescape(fields.next()?),
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Space, tab, newline, backslash and hash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &tail[3..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r"20 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 20 0:40 / /mnt rw,nosuid,nodev - fuse.shmfuse /lower rw,user_id=0
31 30 0:41 / /mnt rw,relatime shared:7 master:2 - tmpfs tmpfs rw
32 20 0:42 /sub /with\040space\134 rw - fuse.shmfuse a\011b rw
";

    #[test]
    fn the_topmost_of_stacked_mounts_is_found() {
        let table = MountTable::parse(TABLE.as_bytes());
        let top = table.top(Path::new("/mnt")).unwrap();
        assert_eq!((top.id, top.device.minor), (31, 41));
        assert!(!top.is_ours());
    }

    #[test]
    fn escaped_characters_are_restored() {
        let table = MountTable::parse(TABLE.as_bytes());
        let mount = table.top(Path::new("/with space\\")).unwrap();
        assert_eq!(mount.source, "a\tb");
    }

    #[test]
    fn a_place_without_a_mount_has_none() {
        let table = MountTable::parse(TABLE.as_bytes());
        assert_eq!(table.top(Path::new("/mnt/x")), None);
        assert_eq!(table.resolve(Path::new("/proc/does/not/exist")), None);
    }

    #[test]
    fn the_table_of_this_machine_has_a_root() {
        let table = MountTable::read().unwrap();
        assert!(table.top(Path::new("/")).is_some());
        assert!(table.resolve(Path::new("/")).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = parse_line(&line);
        }

        #[test]
        fn no_escape_makes_it_panic(field in r"(\\|[0-9]|a){0,12}") {
            let _ = unescape(field.as_bytes());
        }
    }
}
