//! One request with the memory for its reply, as a transport lends it to the file system.

use super::Errno;
use bytemuck::Pod;
use std::{fs::File, os::fd::BorrowedFd, sync::Arc};
use transport::wire::InHeader;

/// One request and the room for its answer.
///
/// `payload` and `out` may be the same memory (they are, in a ring entry): take what is needed
/// from the payload before asking for `out`. The borrow checker holds callers to it.
pub trait Exchange {
    /// The request's header, copied out of shared memory.
    fn header(&self) -> &InHeader;

    /// The request's fixed part, copied out of shared memory: at least
    /// [`fixed_len`](transport::wire::Opcode::fixed_len) bytes of its opcode.
    fn fixed(&self) -> &[u8];

    /// What follows the fixed part: names, values, extensions. Of a WRITE it may be empty even
    /// though there is data: that is reached by [`write_to`](Self::write_to) only.
    fn payload(&self) -> &[u8];

    /// Memory for the reply's body, at least max(8 KiB, max_write) bytes.
    fn out(&mut self) -> &mut [u8];

    /// Writes the first `len` bytes of a WRITE's data to `file` at `offset`, by whatever way is
    /// shortest, and returns how many were written.
    ///
    /// # Errors
    ///
    /// The errno of the first write, if nothing was written. A write that stops early is short,
    /// not an error.
    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno>;
}

/// A reply's body, or how to get it.
#[derive(Debug)]
pub enum Body {
    /// A header is all.
    Empty,
    /// So many bytes at the start of [`Exchange::out`].
    Out(usize),
    /// What `file` holds at `offset`, up to `len` bytes, short at the end of the file. The
    /// transport reads it where it needs it (READ).
    File {
        /// The lower file.
        file: Arc<File>,
        /// In bytes from its start.
        offset: u64,
        /// In bytes, at most the length of [`Exchange::out`].
        len: usize,
    },
    /// No reply is sent (FORGET, INTERRUPT).
    NoReply,
}

/// What a file system says to a request.
pub type Answer = Result<Body, Errno>;

impl dyn Exchange + '_ {
    /// The request's fixed part as its structure.
    ///
    /// # Errors
    ///
    /// `EIO` if the request is shorter than that: the kernel does not speak the protocol we know.
    pub fn arg<T: Pod>(&self) -> Result<T, Errno> {
        let bytes = self.fixed().get(..size_of::<T>()).ok_or(Errno::IO)?;
        Ok(bytemuck::pod_read_unaligned(bytes))
    }

    /// Answers with one structure.
    pub fn reply<T: Pod>(&mut self, body: &T) -> Answer {
        let bytes = bytemuck::bytes_of(body);
        self.out()[..bytes.len()].copy_from_slice(bytes);
        Ok(Body::Out(bytes.len()))
    }

    /// Answers with two structures in a row (CREATE).
    pub fn reply2<T: Pod, U: Pod>(&mut self, first: &T, second: &U) -> Answer {
        let (first, second) = (bytemuck::bytes_of(first), bytemuck::bytes_of(second));
        let len = first.len() + second.len();
        let out = &mut self.out()[..len];
        out[..first.len()].copy_from_slice(first);
        out[first.len()..].copy_from_slice(second);
        Ok(Body::Out(len))
    }

    /// Answers with bytes.
    ///
    /// # Errors
    ///
    /// `ERANGE` if they do not fit.
    pub fn reply_bytes(&mut self, body: &[u8]) -> Answer {
        self.out()
            .get_mut(..body.len())
            .ok_or(Errno::RANGE)?
            .copy_from_slice(body);
        Ok(Body::Out(body.len()))
    }
}
