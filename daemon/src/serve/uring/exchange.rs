//! A request in the entry it arrived in: nothing is copied but its words.

use super::entry::Request;
use crate::fuse::{Errno, Exchange, fulfil::write_at};
use std::os::fd::BorrowedFd;
use transport::wire::InHeader;

/// A request whose payload, and whose reply's body, are the entry's payload buffer.
#[derive(Debug)]
pub struct EntryExchange<'a> {
    request: &'a Request,
    payload: &'a mut [u8],
}

impl<'a> EntryExchange<'a> {
    /// `payload` is the whole payload buffer of the request's entry.
    pub fn new(request: &'a Request, payload: &'a mut [u8]) -> Self {
        Self { request, payload }
    }
}

impl Exchange for EntryExchange<'_> {
    fn header(&self) -> &InHeader {
        &self.request.header
    }

    fn fixed(&self) -> &[u8] {
        self.request.fixed()
    }

    fn payload(&self) -> &[u8] {
        &self.payload[..self.request.payload_len]
    }

    fn out(&mut self) -> &mut [u8] {
        self.payload
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        write_at(file, self.payload().get(..len).ok_or(Errno::IO)?, offset)
    }
}
