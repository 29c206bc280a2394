//! A request that outlives the memory of its transport.

use super::{Errno, Exchange, fulfil::write_at};
use std::os::fd::BorrowedFd;
use transport::wire::InHeader;

/// A copy of a request with room for its reply: what a request that may block is served from,
/// while its transport goes on.
#[derive(Debug)]
pub struct OwnedExchange {
    header: InHeader,
    fixed: Vec<u8>,
    payload: Vec<u8>,
    out: Vec<u8>,
    out_len: usize,
}

impl OwnedExchange {
    /// Copies a request. `out_len` is the room for the reply in bytes, at least max(8 KiB,
    /// max_write); it is allocated when it is asked for.
    pub fn copy(header: &InHeader, fixed: &[u8], payload: &[u8], out_len: usize) -> Self {
        Self {
            header: *header,
            fixed: fixed.to_vec(),
            payload: payload.to_vec(),
            out: Vec::new(),
            out_len,
        }
    }

    /// The first `len` bytes of the reply's body; as many as there are if that is fewer.
    pub fn body(&self, len: usize) -> &[u8] {
        &self.out[..len.min(self.out.len())]
    }
}

impl Exchange for OwnedExchange {
    fn header(&self) -> &InHeader {
        &self.header
    }

    fn fixed(&self) -> &[u8] {
        &self.fixed
    }

    fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn out(&mut self) -> &mut [u8] {
        if self.out.is_empty() {
            self.out = vec![0; self.out_len];
        }
        &mut self.out
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        write_at(file, self.payload.get(..len).ok_or(Errno::IO)?, offset)
    }
}
