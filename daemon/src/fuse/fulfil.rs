//! From a file system's [`Answer`] to the bytes of a reply.

use super::{Answer, Body, Errno, Exchange};
use std::{fs::File, os::fd::BorrowedFd};
use transport::wire::OutHeader;

/// What goes to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Nothing.
    None,
    /// A header that carries this errno.
    Error(Errno),
    /// A header, and so many bytes from the start of [`Exchange::out`].
    Body(usize),
}

/// The first errno that the kernel does not take in a reply (`fuse_dev_do_write`, fs/fuse/dev.c):
/// from here on they are the kernel's own.
const ERRNO_LIMIT: i32 = 512;
/// `ENOTSUPP` (include/linux/errno.h), which some file systems let through to user space.
const ENOTSUPP: i32 = 524;

impl Reply {
    /// The reply's header; `None` if nothing is sent.
    pub fn header(self, unique: u64) -> Option<OutHeader> {
        let (body_len, error) = match self {
            Self::None => return None,
            Self::Error(errno) => (0, -sendable(errno.raw_os_error())),
            Self::Body(len) => (len, 0),
        };
        Some(OutHeader {
            len: (size_of::<OutHeader>() + body_len) as u32,
            error,
            unique,
        })
    }

    /// The length of the body in bytes.
    pub fn body_len(self) -> usize {
        match self {
            Self::Body(len) => len,
            Self::None | Self::Error(_) => 0,
        }
    }
}

fn sendable(errno: i32) -> i32 {
    match errno {
        1..ERRNO_LIMIT => errno,
        ENOTSUPP => Errno::OPNOTSUPP.raw_os_error(),
        _ => Errno::IO.raw_os_error(),
    }
}

/// Brings the answer's body into [`Exchange::out`], reading it from its file if that is where it
/// is. An answer larger than the room for it is the file system's mistake and becomes `EIO`.
pub fn fulfil(answer: Answer, exchange: &mut (dyn Exchange + '_)) -> Reply {
    match answer {
        Err(errno) => Reply::Error(errno),
        Ok(Body::NoReply) => Reply::None,
        Ok(Body::Empty) => Reply::Body(0),
        Ok(Body::Out(len)) if len <= exchange.out().len() => Reply::Body(len),
        Ok(Body::Out(len)) => oversized(len, exchange),
        Ok(Body::File { file, offset, len }) => match exchange.out().get_mut(..len) {
            Some(out) => match read_at(&file, out, offset) {
                Ok(len) => Reply::Body(len),
                Err(errno) => Reply::Error(errno),
            },
            None => oversized(len, exchange),
        },
    }
}

fn oversized(len: usize, exchange: &mut (dyn Exchange + '_)) -> Reply {
    let opcode = exchange.header().opcode;
    let room = exchange.out().len();
    tracing::error!(%opcode, len, room, "the answer is larger than a reply can be");
    Reply::Error(Errno::IO)
}

/// Reads what `file` holds at `offset` until `out` is full or the file ends, and returns how many
/// bytes that were.
///
/// # Errors
///
/// The errno of the first pread(2) that failed, even if something was read: to the kernel a short
/// READ is the end of the file (`fuse_short_read`, fs/fuse/file.c).
pub fn read_at(file: &File, out: &mut [u8], offset: u64) -> Result<usize, Errno> {
    read_on(file, out, offset, 0)
}

/// As [`read_at`], where the first `done` bytes have been read.
///
/// # Errors
///
/// As [`read_at`].
pub fn read_on(file: &File, out: &mut [u8], offset: u64, mut done: usize) -> Result<usize, Errno> {
    while done < out.len() {
        match rustix::io::pread(file, &mut out[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// Writes `data` to `file` at `offset` and returns how many bytes were written.
///
/// # Errors
///
/// The errno of the first pwrite(2), if nothing was written.
pub fn write_at(file: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize, Errno> {
    write_on(file, data, offset, 0)
}

/// As [`write_at`], where the first `done` bytes have been written.
///
/// # Errors
///
/// As [`write_at`].
pub fn write_on(
    file: BorrowedFd<'_>,
    data: &[u8],
    offset: u64,
    mut done: usize,
) -> Result<usize, Errno> {
    while done < data.len() {
        match rustix::io::pwrite(file, &data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}
