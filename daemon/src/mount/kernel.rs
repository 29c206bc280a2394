//! mount(2) and umount2(2), for those who may.

use super::{FS_TYPE, How};
use crate::{
    config::Config,
    error::{Error, Result},
};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags},
};
use std::{
    fmt::Write as _,
    os::fd::{AsRawFd as _, BorrowedFd},
    path::Path,
};

/// Mounts an open `/dev/fuse` at the mountpoint.
///
/// # Errors
///
/// Lack of privilege, a kernel without FUSE, or what else mount(2) says.
pub fn mount(config: &Config, device: BorrowedFd<'_>) -> Result<()> {
    let source = match &config.mount.fsname {
        Some(name) => name.as_ref(),
        None => config.lower.as_os_str(),
    };
    nix::mount::mount(
        Some(source),
        &config.mountpoint,
        Some(FS_TYPE),
        flags(config),
        Some(data(config, device).as_str()),
    )
    .map_err(|errno| {
        let remedy = match errno {
            Errno::EPERM | Errno::EACCES => "mount as root, or install fuse3 and mount as a user",
            Errno::ENODEV => "modprobe fuse, or a kernel with CONFIG_FUSE_FS",
            Errno::ENOSPC => "raise /proc/sys/fs/mount-max",
            _ => "",
        };
        Error::path("cannot mount on", &config.mountpoint, errno).with_remedy(remedy)
    })
}

fn flags(config: &Config) -> MsFlags {
    let options = &config.mount;
    [
        (options.read_only, MsFlags::MS_RDONLY),
        (!options.suid, MsFlags::MS_NOSUID),
        (!options.dev, MsFlags::MS_NODEV),
        (!options.exec, MsFlags::MS_NOEXEC),
        (options.noatime, MsFlags::MS_NOATIME),
        (options.nodiratime, MsFlags::MS_NODIRATIME),
        (options.synchronous, MsFlags::MS_SYNCHRONOUS),
        (options.dirsync, MsFlags::MS_DIRSYNC),
    ]
    .into_iter()
    .filter_map(|(wanted, flag)| wanted.then_some(flag))
    .collect()
}

/// What the file system itself is told (Documentation/filesystems/fuse.rst, "Mount options").
fn data(config: &Config, device: BorrowedFd<'_>) -> String {
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if config.mount.allow_other {
        data.push_str(",allow_other");
    }
    if config.mount.default_permissions {
        data.push_str(",default_permissions");
    }
    if config.mount.max_read != 0 {
        write!(data, ",max_read={}", config.mount.max_read).expect("a String takes everything");
    }
    data
}

/// Unmounts what is on top at `mountpoint`.
///
/// # Errors
///
/// The mount is in use, or what else umount2(2) says.
pub fn unmount(mountpoint: &Path, how: How) -> Result<()> {
    let flags = match how {
        How::Clean => MntFlags::empty(),
        How::Lazy => MntFlags::MNT_DETACH,
        // MNT_FORCE aborts the connection, and then fails if the mount is in use: so detach it.
        How::Force => MntFlags::MNT_FORCE | MntFlags::MNT_DETACH,
    };
    let flags = flags | MntFlags::UMOUNT_NOFOLLOW;
    nix::mount::umount2(mountpoint, flags).map_err(|errno| {
        let remedy = match errno {
            Errno::EBUSY => super::BUSY,
            Errno::EPERM => "unmount as root",
            _ => "",
        };
        Error::path("cannot unmount", mountpoint, errno).with_remedy(remedy)
    })
}
