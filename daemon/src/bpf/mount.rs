//! How the kernel's half tells one mount from another.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::Path};

use crate::error::{Error, Result};

/// The device number of a mounted file system: the kernel's name for it, its own until it is
/// unmounted. The kernel's half compares it with `req->fm->fc->dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MountDevice(u32);

impl MountDevice {
    /// The device of this major and minor number, as `stat` and `/proc/self/mountinfo` have them.
    ///
    /// Ranges: `major` below 2^12, `minor` below 2^20 (`MINORBITS`, include/linux/kdev_t.h);
    /// `None` beyond, and for 0:0, which is no device.
    pub const fn new(major: u32, minor: u32) -> Option<Self> {
        if major >= 1 << 12 || minor >= 1 << 20 || (major == 0 && minor == 0) {
            return None;
        }
        Some(Self(major << 20 | minor))
    }

    /// The device mounted on `mount_point`, an absolute path without symbolic links; the topmost
    /// one if there are several.
    ///
    /// Asks `/proc`, and not the file system: that might be the caller's own, who cannot answer a
    /// request while he makes it.
    ///
    /// # Errors
    ///
    /// [`Error::Path`] if `/proc/self/mountinfo` cannot be read, or nothing is mounted there.
    pub fn mounted_on(mount_point: &Path) -> Result<Self> {
        let list = Path::new("/proc/self/mountinfo");
        let mounts = fs::read(list).map_err(|error| Error::path("cannot read", list, error))?;
        Self::find(&mounts, mount_point).ok_or_else(|| {
            Error::path(
                "cannot find a mount on",
                mount_point,
                std::io::ErrorKind::NotFound,
            )
        })
    }

    fn find(mountinfo: &[u8], mount_point: &Path) -> Option<Self> {
        // "36 35 98:0 /root /mount\040point rw,noatime - ext4 /dev/root rw", proc_pid_mountinfo(5)
        mountinfo
            .split(|&byte| byte == b'\n')
            .filter_map(|line| {
                let mut fields = line.split(|&byte| byte == b' ');
                let device = str::from_utf8(fields.nth(2)?).ok()?;
                let on = OsString::from_vec(unescape(fields.nth(1)?));
                (on == mount_point.as_os_str()).then_some(device)
            })
            .next_back()
            .and_then(|device| {
                let (major, minor) = device.split_once(':')?;
                Self::new(major.parse().ok()?, minor.parse().ok()?)
            })
    }

    /// The number as the kernel has it in memory (`dev_t`): `major << 20 | minor`.
    pub const fn as_kernel_u32(self) -> u32 {
        self.0
    }
}

/// Undoes the kernel's `mangle`: space, tab, newline and backslash stand as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"\
22 28 0:21 / /proc rw,nosuid - proc proc rw\n\
30 28 0:45 / /mnt rw - fuse.shmfuse /lower rw\n\
31 30 0:46 / /mnt rw - fuse.shmfuse /lower rw\n\
32 28 8:17 / /a\\040b\\134c\\012d rw - ext4 /dev/sdb1 rw\n";

    #[test]
    fn the_topmost_of_several_mounts_is_found() {
        let found = MountDevice::find(MOUNTS, Path::new("/mnt")).unwrap();
        assert_eq!(found.as_kernel_u32(), 46);
    }

    #[test]
    fn a_mount_point_with_escapes_is_found() {
        let found = MountDevice::find(MOUNTS, Path::new("/a b\\c\nd")).unwrap();
        assert_eq!(found.as_kernel_u32(), 8 << 20 | 17);
    }

    #[test]
    fn a_path_below_a_mount_is_not_a_mount() {
        assert_eq!(MountDevice::find(MOUNTS, Path::new("/mnt/below")), None);
        assert_eq!(MountDevice::find(MOUNTS, Path::new("/")), None);
    }

    #[test]
    fn numbers_the_kernel_cannot_have_are_refused() {
        assert_eq!(MountDevice::new(0, 0), None);
        assert_eq!(MountDevice::new(1 << 12, 1), None);
        assert_eq!(MountDevice::new(0, 1 << 20), None);
        assert!(MountDevice::new((1 << 12) - 1, (1 << 20) - 1).is_some());
    }
}
