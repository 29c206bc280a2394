//! A request in the entry it arrived in: nothing is copied but its words.

use super::entry::Request;
use crate::fuse::{Errno, Exchange, fulfil::write_on};
use rustix::io::pwritev;
use std::{io::IoSlice, os::fd::BorrowedFd};
use transport::wire::InHeader;

/// A request whose payload, and whose reply's body, are the entry's payload buffer.
#[derive(Debug)]
pub struct EntryExchange<'a> {
    request: &'a Request,
    payload: &'a mut [u8],
    others: Others<'a>,
}

/// What others that wait have to do with a WRITE.
#[derive(Debug)]
enum Others<'a> {
    /// These data follow its own in the file, and are written with them. Nothing is yet.
    Follow(&'a [&'a [u8]]),
    /// So many bytes of its own and theirs have been written.
    Written(usize),
}

impl<'a> EntryExchange<'a> {
    /// `payload` is the whole payload buffer of the request's entry.
    pub fn new(request: &'a Request, payload: &'a mut [u8]) -> Self {
        Self::written(request, payload, 0)
    }

    /// A WRITE behind whose data in the file the data `behind` are to be written.
    pub fn followed(request: &'a Request, payload: &'a mut [u8], behind: &'a [&'a [u8]]) -> Self {
        let others = Others::Follow(behind);
        Self {
            request,
            payload,
            others,
        }
    }

    /// A WRITE of which the first `written` bytes have been written.
    pub fn written(request: &'a Request, payload: &'a mut [u8], written: usize) -> Self {
        Self {
            request,
            payload,
            others: Others::Written(written),
        }
    }

    /// How many bytes of the data that were to be written behind its own have been.
    pub fn written_behind(&self) -> usize {
        match self.others {
            Others::Follow(_) => 0,
            Others::Written(written) => written.saturating_sub(self.request.payload_len),
        }
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
        let own = self.payload().get(..len).ok_or(Errno::IO)?;
        let done = match self.others {
            Others::Written(written) => written,
            Others::Follow(behind) => {
                let slices = std::iter::once(own).chain(behind.iter().copied());
                let slices: Vec<IoSlice<'_>> = slices.map(IoSlice::new).collect();
                // What failed as a whole is tried alone: the errno may be one that another caused.
                pwritev(file, &slices, offset).unwrap_or(0)
            }
        };
        let written = write_on(file, own, offset, done.min(len));
        self.others = Others::Written(done);
        written
    }
}
