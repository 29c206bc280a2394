//! Requests and replies as they are on `/dev/fuse`.

use crate::{
    error::{Error, Result},
    fuse::{Device, Errno, Exchange, Reply, fulfil::write_at},
};
use memmap2::MmapMut;
use std::os::fd::BorrowedFd;
use transport::wire::{InHeader, OutHeader, WriteIn};

/// Alignment of the data of a WRITE and of a reply's body: what direct I/O on the lower file asks
/// for at most.
const ALIGN: usize = 4096;
/// What stands before the data of a WRITE.
pub const WRITE_HEAD: usize = size_of::<InHeader>() + size_of::<WriteIn>();
/// Where a request begins in its buffer, so that the data of a WRITE is aligned.
const REQUEST_START: usize = ALIGN - WRITE_HEAD;
/// Where a reply begins in its buffer, so that its body is aligned.
const REPLY_START: usize = ALIGN - size_of::<OutHeader>();

/// Memory for one request.
#[derive(Debug)]
pub struct RequestBuffer(MmapMut);

impl RequestBuffer {
    /// For requests that carry at most `max_payload` bytes.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn new(max_payload: usize) -> Result<Self> {
        Ok(Self(anonymous(ALIGN + max_payload + ALIGN)?))
    }

    /// Where a request goes: the head of a WRITE, a page more than `max_payload`.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.0[REQUEST_START..]
    }

    /// The first `len` bytes of [`space`](Self::space) as a request.
    ///
    /// # Errors
    ///
    /// As [`Request::parse`].
    pub fn request(&self, len: usize) -> Result<Request<'_>, Malformed> {
        self.head(len, len)
    }

    /// The first `len` bytes of [`space`](Self::space) as the head of a request of `whole_len`
    /// bytes: its payload is cut off there.
    ///
    /// # Errors
    ///
    /// As [`Request::parse`].
    pub fn head(&self, len: usize, whole_len: usize) -> Result<Request<'_>, Malformed> {
        let bytes = self.0[REQUEST_START..].get(..len);
        Request::parse(bytes.ok_or(Malformed::NoHeader)?, whole_len)
    }
}

/// One request in its parts.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Copied out.
    pub header: InHeader,
    /// As long as the opcode says.
    pub fixed: &'a [u8],
    /// What follows.
    pub payload: &'a [u8],
}

/// Not a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Not even a header.
    NoHeader,
    /// A header whose length is not the message's, or less than its opcode needs; whoever waits
    /// for it can be told.
    Length(InHeader),
}

impl<'a> Request<'a> {
    /// Takes apart a request of `whole_len` bytes, of which `message` are the first.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn parse(message: &'a [u8], whole_len: usize) -> Result<Self, Malformed> {
        let (header, body) = message
            .split_at_checked(size_of::<InHeader>())
            .ok_or(Malformed::NoHeader)?;
        let header: InHeader = bytemuck::pod_read_unaligned(header);
        if header.len as usize != whole_len {
            return Err(Malformed::Length(header));
        }
        let (fixed, payload) = body
            .split_at_checked(header.opcode.fixed_len())
            .ok_or(Malformed::Length(header))?;
        Ok(Self {
            header,
            fixed,
            payload,
        })
    }
}

/// Memory for one reply.
#[derive(Debug)]
pub struct ReplyBuffer(MmapMut);

impl ReplyBuffer {
    /// For bodies of at most `max_payload` bytes.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn new(max_payload: usize) -> Result<Self> {
        Ok(Self(anonymous(ALIGN + max_payload)?))
    }

    /// Where the body goes.
    pub fn body(&mut self) -> &mut [u8] {
        &mut self.0[ALIGN..]
    }

    /// Writes the reply, header and body in one piece, to the channel of its request.
    ///
    /// # Errors
    ///
    /// As [`Device::write`].
    pub fn send(&mut self, channel: &Device, reply: Reply, unique: u64) -> Result<(), Errno> {
        let Some(header) = reply.header(unique) else {
            return Ok(());
        };
        self.0[REPLY_START..ALIGN].copy_from_slice(bytemuck::bytes_of(&header));
        channel.write(&self.0[REPLY_START..ALIGN + reply.body_len()])
    }
}

/// A request in its buffer, and room for the reply in another.
#[derive(Debug)]
pub struct BufferedExchange<'a> {
    /// The request.
    pub request: Request<'a>,
    /// Room for the reply's body.
    pub out: &'a mut [u8],
}

impl Exchange for BufferedExchange<'_> {
    fn header(&self) -> &InHeader {
        &self.request.header
    }

    fn fixed(&self) -> &[u8] {
        self.request.fixed
    }

    fn payload(&self) -> &[u8] {
        self.request.payload
    }

    fn out(&mut self) -> &mut [u8] {
        self.out
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        let data = self.request.payload.get(..len).ok_or(Errno::IO)?;
        write_at(file, data, offset)
    }
}

fn anonymous(len: usize) -> Result<MmapMut> {
    MmapMut::map_anon(len).map_err(|source| Error::system("cannot allocate a buffer", source))
}
