//! Requests and replies as they are on `/dev/fuse`, and the memory they are read into.

use crate::{
    error::{Error, Result},
    fuse::{Device, Errno, Exchange, Reply, fulfil::write_at},
};
use memmap2::{Advice, MmapMut};
use std::{ops::Range, os::fd::BorrowedFd};
use transport::wire::{InHeader, Opcode, OutHeader, WriteIn};

/// Alignment of the data of a WRITE and of a reply's body: what direct I/O on the lower file asks
/// for at most.
const ALIGN: usize = 4096;
/// What stands before the data of a WRITE.
pub const WRITE_HEAD: usize = size_of::<InHeader>() + size_of::<WriteIn>();
/// Where a request begins in its memory, so that the data of a WRITE is aligned.
const REQUEST_START: usize = ALIGN - WRITE_HEAD;
/// Where a reply begins in its memory, so that its body is aligned.
const REPLY_START: usize = ALIGN - size_of::<OutHeader>();
/// Length of a huge page.
const HUGE: usize = 2 << 20;

/// The longest fixed part of a request.
const FIXED_MAX: usize = 88;
const _: () = {
    let mut at = 0;
    while at < Opcode::ALL.len() {
        assert!(Opcode::ALL[at].fixed_len() <= FIXED_MAX);
        at += 1;
    }
};

/// Memory for one request, then for its reply: the body of the reply overwrites what follows the
/// request's fixed part, as in a ring entry.
#[derive(Debug)]
pub struct MessageBuffer {
    memory: MmapMut,
    payload_max: usize,
}

impl MessageBuffer {
    /// For requests and replies that carry at most `payload_max` bytes.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn new(payload_max: usize) -> Result<Self> {
        let len = ALIGN + payload_max;
        let huge = len > HUGE / 4;
        let len = if huge {
            len.next_multiple_of(HUGE)
        } else {
            len
        };
        let memory = MmapMut::map_anon(len)
            .map_err(|source| Error::system("cannot allocate a buffer", source))?;
        // The kernel pins the memory page by page for each message; huge ones are pinned at once.
        if huge && let Err(error) = memory.advise(Advice::HugePage) {
            tracing::debug!(%error, "no huge pages for messages");
        }
        Ok(Self {
            memory,
            payload_max,
        })
    }

    /// Where a request goes: room for the head of a WRITE and a payload.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.memory[REQUEST_START..ALIGN + self.payload_max]
    }

    /// The first `len` bytes of [`space`](Self::space) as a request of `whole_len` bytes; what is
    /// beyond them is not in its payload.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn request(&self, len: usize, whole_len: usize) -> Result<Request, Malformed> {
        let bytes = self.memory[REQUEST_START..].get(..len);
        Request::parse(bytes.ok_or(Malformed::NoHeader)?, whole_len)
    }

    /// What follows the fixed part of `request`, until a reply is written.
    pub fn payload(&self, request: &Request) -> &[u8] {
        &self.memory[REQUEST_START..][request.payload.clone()]
    }

    /// `request`, which lies here, with room for its reply.
    pub fn exchange<'a>(&'a mut self, request: &'a Request) -> BufferedExchange<'a> {
        let space = self.space();
        BufferedExchange { request, space }
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
        self.memory[REPLY_START..ALIGN].copy_from_slice(bytemuck::bytes_of(&header));
        channel.write(&self.memory[REPLY_START..ALIGN + reply.body_len()])
    }
}

/// A request's head, copied out, and where its payload is.
#[derive(Clone, Debug)]
pub struct Request {
    header: InHeader,
    fixed: [u8; FIXED_MAX],
    /// From the beginning of the request.
    payload: Range<usize>,
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

impl Request {
    /// Takes apart a request of `whole_len` bytes, of which `message` are the first.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn parse(message: &[u8], whole_len: usize) -> Result<Self, Malformed> {
        let (header, body) = message
            .split_at_checked(size_of::<InHeader>())
            .ok_or(Malformed::NoHeader)?;
        let header: InHeader = bytemuck::pod_read_unaligned(header);
        if header.len as usize != whole_len {
            return Err(Malformed::Length(header));
        }
        let fixed_len = header.opcode.fixed_len();
        let bytes = body.get(..fixed_len).ok_or(Malformed::Length(header))?;
        let mut fixed = [0; FIXED_MAX];
        fixed[..fixed_len].copy_from_slice(bytes);
        Ok(Self {
            header,
            fixed,
            payload: size_of::<InHeader>() + fixed_len..message.len(),
        })
    }

    /// The header.
    pub fn header(&self) -> &InHeader {
        &self.header
    }

    /// As long as the opcode says.
    pub fn fixed(&self) -> &[u8] {
        &self.fixed[..self.header.opcode.fixed_len()]
    }
}

/// A request in its memory, with room for its reply.
#[derive(Debug)]
pub struct BufferedExchange<'a> {
    request: &'a Request,
    space: &'a mut [u8],
}

impl Exchange for BufferedExchange<'_> {
    fn header(&self) -> &InHeader {
        self.request.header()
    }

    fn fixed(&self) -> &[u8] {
        self.request.fixed()
    }

    fn payload(&self) -> &[u8] {
        &self.space[self.request.payload.clone()]
    }

    fn out(&mut self) -> &mut [u8] {
        &mut self.space[WRITE_HEAD..]
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        write_at(file, self.payload().get(..len).ok_or(Errno::IO)?, offset)
    }
}
