//! A request that outlives the memory of its transport.

use super::{Errno, Exchange, fulfil::write_at};
use memmap2::MmapMut;
use std::os::fd::BorrowedFd;
use transport::wire::InHeader;

/// A copy of a request with room for its reply: what a request that may block is served from,
/// while its transport goes on.
#[derive(Debug)]
pub struct OwnedExchange {
    header: InHeader,
    fixed: Vec<u8>,
    payload: Pages,
    out: Pages,
    out_len: usize,
}

/// Memory that begins with a page, as direct I/O wants it; none if there was none to be had, and then
/// the request gets `EIO`.
#[derive(Debug)]
struct Pages(Option<MmapMut>);

impl Pages {
    /// Zeroes.
    fn new(len: usize) -> Self {
        if len == 0 {
            return Self(None);
        }
        let map = MmapMut::map_anon(len);
        let map = map.inspect_err(|error| tracing::error!(%error, len, "no memory for a request"));
        Self(map.ok())
    }

    fn copy_of(bytes: &[u8]) -> Self {
        let mut pages = Self::new(bytes.len());
        if let Some(map) = &mut pages.0 {
            map.copy_from_slice(bytes);
        }
        pages
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl OwnedExchange {
    /// Copies a request. `out_len` is the room for the reply in bytes, at least max(8 KiB,
    /// max_write); it is allocated when it is asked for.
    pub fn copy(header: &InHeader, fixed: &[u8], payload: &[u8], out_len: usize) -> Self {
        Self {
            header: *header,
            fixed: fixed.to_vec(),
            payload: Pages::copy_of(payload),
            out: Pages(None),
            out_len,
        }
    }

    /// The first `len` bytes of the reply's body; as many as there are if that is fewer.
    pub fn body(&self, len: usize) -> &[u8] {
        let out = self.out.bytes();
        &out[..len.min(out.len())]
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
        self.payload.bytes()
    }

    fn out(&mut self) -> &mut [u8] {
        if self.out.0.is_none() {
            self.out = Pages::new(self.out_len);
        }
        self.out.0.as_deref_mut().unwrap_or_default()
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        write_at(file, self.payload().get(..len).ok_or(Errno::IO)?, offset)
    }
}
