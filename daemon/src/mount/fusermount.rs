//! Mounting without privilege: fusermount3, the set-user-id program of libfuse.
//!
//! It is given one end of a socket pair in `_FUSE_COMMFD`; it opens `/dev/fuse`, mounts it, and
//! sends the descriptor over the socket (libfuse, util/fusermount.c, `send_fd`).

use super::{BUSY, How};
use crate::{
    config::Config,
    error::{Error, Result},
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags,
        SocketType, recvmsg, socketpair,
    },
};
use std::{
    ffi::{OsStr, OsString},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

const PROGRAM: &str = "fusermount3";

/// Has fusermount3 mount, and returns the open `/dev/fuse`.
///
/// Called while this process has one thread: the socket's other end is open to every program
/// started meanwhile.
///
/// # Errors
///
/// No fusermount3, an option that root alone may use, or what fusermount3 says.
pub fn mount(config: &Config) -> Result<OwnedFd> {
    if config.mount.suid || config.mount.dev {
        let remedy = "mount as root, or leave them out";
        return Err(Error::refused("-o suid, -o dev", "for root only", remedy));
    }
    let cannot = |errno| Error::system("cannot make a socket pair for fusermount3", errno);
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(cannot)?;
    fcntl_setfd(&theirs, FdFlags::empty()).map_err(cannot)?;
    let output = output(
        Command::new(PROGRAM)
            .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
            .arg("-o")
            .arg(options(config))
            .arg("--")
            .arg(&config.mountpoint),
    )?;
    drop(theirs);
    if !output.status.success() {
        let place = config.mountpoint.display().to_string();
        return Err(said(format!("cannot mount on {place}"), &output));
    }
    receive(&ours)
}

/// The device, from the socket.
fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    let cannot =
        |error: io::Error| Error::system("cannot receive /dev/fuse from fusermount3", error);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|errno| cannot(errno.into()))?;
    ancillary
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| cannot(io::ErrorKind::UnexpectedEof.into()))
}

/// The `-o` list; fusermount3 adds nosuid and nodev by itself.
fn options(config: &Config) -> OsString {
    let options = &config.mount;
    let source = match &options.fsname {
        Some(name) => OsStr::new(name),
        None => config.lower.as_os_str(),
    };
    let mut list = b"subtype=shmfuse,fsname=".to_vec();
    for &byte in source.as_bytes() {
        // It takes a backslash as the mark of a comma that belongs to the value.
        if matches!(byte, b',' | b'\\') {
            list.push(b'\\');
        }
        list.push(byte);
    }
    let flags = [
        (options.read_only, "ro"),
        (!options.exec, "noexec"),
        (options.noatime, "noatime"),
        (options.nodiratime, "nodiratime"),
        (options.synchronous, "sync"),
        (options.dirsync, "dirsync"),
        (options.allow_other, "allow_other"),
        (options.default_permissions, "default_permissions"),
    ];
    for (_, flag) in flags.iter().filter(|(wanted, _)| *wanted) {
        list.push(b',');
        list.extend(flag.bytes());
    }
    if options.max_read != 0 {
        list.extend(format!(",max_read={}", options.max_read).bytes());
    }
    OsString::from_vec(list)
}

/// Has fusermount3 unmount what this user has mounted.
///
/// # Errors
///
/// The mount is in use, is somebody else's, or what else fusermount3 says. [`How::Force`] is for
/// root only.
pub fn unmount(mountpoint: &Path, how: How) -> Result<()> {
    let mut command = Command::new(PROGRAM);
    command.arg("-u");
    match how {
        How::Clean => {}
        How::Lazy => drop(command.arg("-z")),
        How::Force => {
            return Err(Error::refused("--force", "for root only", "use --lazy"));
        }
    }
    let output = output(command.arg("--").arg(mountpoint))?;
    if output.status.success() {
        return Ok(());
    }
    let error = said(format!("cannot unmount {}", mountpoint.display()), &output);
    // It says "Device or resource busy" in the words of strerror(3).
    let busy = String::from_utf8_lossy(&output.stderr).contains("busy");
    Err(if busy { error.with_remedy(BUSY) } else { error })
}

fn output(command: &mut Command) -> Result<Output> {
    // What it says is passed on; the C locale keeps it in one language.
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Error::path("cannot run", PROGRAM, error)
                .with_remedy("install the package fuse3, or be root")
        })
}

/// What fusermount3 said, without its name in front.
fn said(thing: String, output: &Output) -> Error {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next().unwrap_or("it does not say why");
    let why = line.trim_start_matches("fusermount3: ");
    let remedy = if why.contains("user_allow_other") {
        "write user_allow_other into /etc/fuse.conf, or leave allow_other out"
    } else if why.contains("/dev/fuse: Permission denied") {
        "as root: chmod 666 /dev/fuse"
    } else if why.contains("/dev/fuse") {
        "modprobe fuse; in a container: --device /dev/fuse"
    } else {
        ""
    };
    Error::refused(thing, why, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MountOptions;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::{
        io::IoSlice,
        os::fd::{AsFd as _, BorrowedFd},
    };

    fn config(lower: &str) -> Config {
        Config {
            data: crate::config::DataChoice::Auto,
            ..Config::plain(lower, "/m")
        }
    }

    #[test]
    fn a_comma_in_a_name_is_escaped() {
        let mut config = config("/a,b");
        config.mount = MountOptions {
            read_only: true,
            max_read: 4096,
            ..MountOptions::default()
        };
        assert_eq!(
            options(&config),
            r"subtype=shmfuse,fsname=/a\,b,ro,default_permissions,max_read=4096"
        );
    }

    #[test]
    fn the_descriptor_that_is_sent_is_received() {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: [BorrowedFd<'_>; 1] = [file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(
            &theirs,
            &[IoSlice::new(&[0])],
            &mut ancillary,
            SendFlags::empty(),
        )
        .unwrap();
        assert!(receive(&ours).is_ok());
        drop(theirs);
        assert!(receive(&ours).is_err());
    }
}
