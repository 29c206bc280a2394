//! The device, the protocol, the ways to mount.

use super::Check;
use crate::{
    error::{Error, Result, why},
    fuse::Device,
    mount,
};
use bytemuck::{Zeroable as _, bytes_of_mut};
use rustix::{
    mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen},
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};
use std::{
    fs,
    os::{fd::AsFd as _, fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::PathBuf,
};
use transport::wire::{
    InHeader, InitFlags, InitIn, KERNEL_MINOR_VERSION_MIN, KERNEL_VERSION, MIN_READ_BUFFER,
};

const AREA: &str = "FUSE";
const NEWER: &str = "a newer kernel (docs/kernel.md)";

/// Capabilities that the kernel offers to virtiofs alone (fs/fuse/inode.c, `fuse_new_init`).
const OF_VIRTIOFS: InitFlags = InitFlags::MAP_ALIGNMENT
    .union(InitFlags::HAS_INODE_DAX)
    .union(InitFlags::SUBMOUNTS);

/// Looks at the device, and asks the kernel what it offers.
pub fn examine() -> Vec<Check> {
    let mut checks = vec![registered(), device(), way()];
    match offer() {
        Ok(init) => checks.extend(protocol(&init)),
        Err(error) => checks.push(
            Check::no(
                AREA,
                "protocol",
                error.with_remedy("").to_string(),
                "to know what the kernel offers",
                "ask as root: sudo shmfuse doctor",
            )
            .unknown(),
        ),
    }
    checks.push(handles());
    checks.push(allow_other());
    checks
}

fn registered() -> Check {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let name = "file system";
    let enables = "mounting at all";
    if known
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == "fuse")
    {
        Check::yes(AREA, name, "", enables).required()
    } else {
        let remedy = "modprobe fuse, or a kernel with CONFIG_FUSE_FS (docs/kernel.md)";
        Check::no(AREA, name, "not in /proc/filesystems", enables, remedy).required()
    }
}

/// Opened by this process, or by fusermount3 with no more rights than this user has (libfuse,
/// util/fusermount.c, `open_fuse_device`).
fn device() -> Check {
    let (name, enables) = (crate::fuse::device::PATH, "mounting at all");
    match Device::open() {
        Ok(_) => Check::yes(AREA, name, "can be opened", enables),
        Err(Error::Path { source, remedy, .. }) => {
            Check::no(AREA, name, why(&source), enables, remedy)
        }
        Err(error) => Check::no(AREA, name, error.to_string(), enables, ""),
    }
    .required()
}

/// How this user mounts.
fn way() -> Check {
    let (name, enables) = ("mount", "mounting at all");
    if mount::is_privileged() {
        return Check::yes(AREA, name, "by mount(2): CAP_SYS_ADMIN", enables).required();
    }
    let helper = find_program("fusermount3");
    let check = match helper {
        Some(path) if is_set_user_id_root(&path) => {
            let found = format!("by {}, set-user-id root", path.display());
            Check::yes(AREA, name, found, enables)
        }
        Some(path) => Check::no(
            AREA,
            name,
            format!("{} is not set-user-id root", path.display()),
            enables,
            format!("as root: chmod u+s {}", path.display()),
        ),
        None => Check::no(
            AREA,
            name,
            "neither CAP_SYS_ADMIN nor fusermount3",
            enables,
            "install the package fuse3, or be root",
        ),
    };
    check.required()
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

fn is_set_user_id_root(program: &std::path::Path) -> bool {
    fs::metadata(program).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o4000 != 0)
}

/// What the kernel says at INIT to a file system that is created and never attached.
fn offer() -> Result<InitIn> {
    let cannot = |errno| Error::system("cannot create a FUSE file system", errno);
    let device = Device::open()?;
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(cannot)?;
    let descriptor = device.as_fd().as_raw_fd().to_string();
    for (key, value) in [
        ("fd", descriptor.as_str()),
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
    ] {
        fsconfig_set_string(&context, key, value).map_err(cannot)?;
    }
    fsconfig_create(&context).map_err(cannot)?;
    let mut request = vec![0; MIN_READ_BUFFER];
    let len = device
        .read(&mut request)
        .map_err(|errno| Error::system("cannot read INIT", errno))?;
    let mut init = InitIn::zeroed();
    let bytes = bytes_of_mut(&mut init);
    // Older kernels send a shorter one.
    let body = request[..len]
        .get(size_of::<InHeader>()..)
        .unwrap_or_default();
    let common = body.len().min(bytes.len());
    bytes[..common].copy_from_slice(&body[..common]);
    Ok(init)
}

fn protocol(init: &InitIn) -> Vec<Check> {
    let version = format!("{}.{}", init.major, init.minor);
    let speaks = init.major == KERNEL_VERSION && init.minor >= KERNEL_MINOR_VERSION_MIN;
    let (name, enables) = ("protocol", "mounting at all");
    let mut checks = vec![if speaks {
        Check::yes(AREA, name, version, enables).required()
    } else {
        let found = format!("{version}; {KERNEL_VERSION}.{KERNEL_MINOR_VERSION_MIN} is needed");
        Check::no(AREA, name, found, enables, NEWER).required()
    }];
    let offered = InitFlags::from_words(init.flags, init.flags2);
    let missing: Vec<_> = InitFlags::all()
        .difference(offered | OF_VIRTIOFS)
        .iter_names()
        .map(|(name, _)| name)
        .collect();
    let count = offered.iter_names().count();
    let name = "capabilities";
    let enables = "each what its name says (include/uapi/linux/fuse.h)";
    checks.push(if missing.is_empty() {
        Check::yes(
            AREA,
            name,
            format!("all {count} that shmfuse knows"),
            enables,
        )
    } else {
        let found = format!("{count}; not {}", missing.join(" "));
        Check::no(AREA, name, found, enables, NEWER)
    });
    checks.push(passthrough(offered));
    checks
}

fn passthrough(offered: InitFlags) -> Check {
    let name = "passthrough of data";
    let enables = "--data passthrough: file data that never enters the daemon";
    if !offered.contains(InitFlags::PASSTHROUGH) {
        let remedy = "Linux 6.9 or newer with CONFIG_FUSE_PASSTHROUGH=y (docs/kernel.md)";
        return Check::no(AREA, name, "not in this kernel", enables, remedy);
    }
    // fuse_backing_open (fs/fuse/backing.c) asks for it in the initial user namespace.
    if mount::is_privileged() {
        Check::yes(AREA, name, "", enables)
    } else {
        Check::no(AREA, name, "for root only", enables, "mount as root")
    }
}

/// Whether inodes can be held by handle rather than by descriptor.
fn handles() -> Check {
    let limit = match getrlimit(Resource::Nofile).maximum {
        Some(limit) => format!("{limit} descriptors"),
        None => "any number of descriptors".to_owned(),
    };
    let name = "inodes by file handle";
    let enables = "trees with more files than this process may have descriptors";
    let able = |sets: rustix::thread::CapabilitySets| {
        sets.effective.contains(CapabilitySet::DAC_READ_SEARCH)
    };
    if capabilities(None).is_ok_and(able) {
        let found = format!("CAP_DAC_READ_SEARCH; {limit}");
        Check::yes(AREA, name, found, enables)
    } else {
        let found = format!("no CAP_DAC_READ_SEARCH; {limit}");
        Check::no(
            AREA,
            name,
            found,
            enables,
            "mount as root, or raise 'ulimit -Hn'",
        )
    }
}

fn allow_other() -> Check {
    let (name, enables) = ("allow_other", "users other than the one who mounts");
    if mount::is_privileged() {
        return Check::yes(AREA, name, "", enables);
    }
    let conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if conf.lines().any(|line| line.trim() == "user_allow_other") {
        Check::yes(AREA, name, "user_allow_other in /etc/fuse.conf", enables)
    } else {
        let remedy = "as root: echo user_allow_other >> /etc/fuse.conf";
        Check::no(AREA, name, "not for users", enables, remedy)
    }
}
