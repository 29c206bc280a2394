//! A pair of sockets that stands for `/dev/fuse`.

use bytemuck::{bytes_of, pod_read_unaligned};
use shmfuse::fuse::{Device, Errno};
use std::{os::fd::OwnedFd, time::Duration};
use transport::wire::*;

/// Longer than anything here takes on a machine that works.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The kernel's end of a pair of sockets.
pub struct Kernel(OwnedFd);

impl Kernel {
    /// Sends a message.
    pub fn send(&self, message: &[u8]) {
        let sent = rustix::io::write(&self.0, message).expect("send");
        assert_eq!(sent, message.len());
    }

    /// Sends a request.
    pub fn request(&self, opcode: Opcode, nodeid: u64, unique: u64, body: &[u8]) {
        let header = InHeader {
            len: (size_of::<InHeader>() + body.len()) as u32,
            opcode,
            unique,
            nodeid,
            ..InHeader::default()
        };
        self.send(&[bytes_of(&header), body].concat());
    }

    /// The next reply.
    pub fn receive(&self) -> (OutHeader, Vec<u8>) {
        let mut message = vec![0; 2 << 20];
        let len = rustix::io::read(&self.0, &mut message).expect("receive");
        message.truncate(len);
        let body = message.split_off(size_of::<OutHeader>());
        let header: OutHeader = pod_read_unaligned(&message);
        assert_eq!(header.len as usize, len);
        (header, body)
    }

    /// The next reply is this error.
    pub fn expect(&self, unique: u64, error: Errno) {
        let (header, body) = self.receive();
        assert_eq!(header.unique, unique);
        assert_eq!(header.error, -error.raw_os_error());
        assert!(body.is_empty());
    }

    /// The next reply is this body.
    pub fn expect_body(&self, unique: u64, expected: &[u8]) {
        let (header, body) = self.receive();
        assert_eq!((header.unique, header.error), (unique, 0));
        assert_eq!(body, expected);
    }
}

/// A device, and who is behind it.
pub fn device() -> (Kernel, Device) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let kind = SocketType::SEQPACKET;
    let (kernel, device) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .expect("a pair of sockets");
    let watchdog = rustix::net::sockopt::Timeout::Recv;
    rustix::net::sockopt::set_socket_timeout(&kernel, watchdog, Some(WATCHDOG)).expect("set");
    (Kernel(kernel), Device::from_fd(device))
}
