//! The splice transport: the data of READ and WRITE goes through pipes, past the daemon's memory.
//!
//! A request is spliced from `/dev/fuse` into a pipe. Its head is read from there; the data of a
//! WRITE stays, and is spliced to the lower file. The data of a READ is spliced from the lower
//! file into the same pipe, which is empty by then; only now its length is known, and the reply's
//! header goes into a second pipe, then the data behind it, then all of it to `/dev/fuse` at once.
//!
//! A WRITE is one copy then (the kernel's pages to the lower page cache; none if the lower file is
//! open for direct I/O) and a READ one (lower page cache to the kernel's pages), where the classic
//! transport has two. Pages are not moved (`SPLICE_F_MOVE`): that would take them from the lower
//! file's page cache.

use super::{
    ServerThread,
    classic::{after_failed_read, after_send, detach, refuse},
    message::{MessageBuffer, Request, WRITE_HEAD},
    spawn,
};
use crate::{
    error::{Error, Result},
    fuse::{
        Answer, Body, Device, Errno, Exchange, Reply, ServeThread, Session,
        counters::Counters,
        fulfil::{fulfil, write_at},
        pipe::Pipe,
    },
    rules::serving::Course,
};
use rustix::pipe::{SpliceFlags, splice};
use std::{
    fs::File,
    ops::{ControlFlow, Range},
    os::fd::BorrowedFd,
    sync::Arc,
};
use transport::{
    rules::Ruling,
    wire::{InHeader, Opcode, OutHeader},
};

/// Data up to this many bytes is copied. Two more system calls and a slot of a pipe for each page
/// cost as much as copying some 64 KiB does: below, splice is the slower way (docs/benchmarks.md).
const SHORT: usize = 32 << 10;

/// Starts the threads, each with a channel and two pipes of its own.
///
/// # Errors
///
/// As [`spawn`]; or there are not enough pipes of the size agreed on at INIT.
pub fn start(session: &Arc<Session>) -> Result<Vec<ServerThread>> {
    (0..session.config().threads)
        .map(|index| {
            let device = session.channel(index)?;
            let channel = Channel::new(session, device)?;
            spawn(
                session,
                format!("shmfuse-{index}"),
                move |_| Ok(channel),
                |_, thread, mut channel| channel.serve(thread),
            )
        })
        .collect()
}

/// A channel to `/dev/fuse` with what one thread needs to serve it.
struct Channel {
    session: Arc<Session>,
    device: Device,
    buffer: MessageBuffer,
    /// Holds a request, then the data of its reply. Empty between requests.
    data: Pipe,
    /// Holds a reply. Empty between requests.
    replies: Pipe,
}

/// What a request leaves in the pipes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "residue would be taken for the next request"]
enum Pipes {
    Empty,
    Residue,
}

impl Channel {
    fn new(session: &Arc<Session>, device: Device) -> Result<Self> {
        let max_payload = session.negotiated().max_payload();
        Ok(Self {
            session: Arc::clone(session),
            device,
            buffer: MessageBuffer::new(max_payload)?,
            data: Pipe::whole(max_payload)?,
            replies: Pipe::whole(max_payload)?,
        })
    }

    fn serve(&mut self, thread: &mut ServeThread) -> Result<()> {
        loop {
            match self.receive() {
                Ok(len) => match self.serve_one(thread, len)? {
                    Pipes::Empty => {}
                    Pipes::Residue => self.renew_pipes()?,
                },
                Err(errno) => match after_failed_read(&self.session, &self.device, errno)? {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(()) => return Ok(()),
                },
            }
        }
    }

    /// One request into the pipe.
    fn receive(&mut self) -> Result<usize, Errno> {
        let (from, to, room) = (&self.device, self.data.writer(), self.data.size());
        splice(from, None, to, None, room, SpliceFlags::empty())
    }

    /// Serves the request of `len` bytes that is in the pipe.
    fn serve_one(&mut self, thread: &mut ServeThread, len: usize) -> Result<Pipes> {
        if len <= WRITE_HEAD + SHORT {
            self.take(0..len)?;
            return self.serve_whole(thread, len);
        }
        self.take(0..WRITE_HEAD)?;
        if let Some(request) = self.write_in_pipe(len) {
            return Ok(self.serve_write(thread, &request, len - WRITE_HEAD));
        }
        self.take(WRITE_HEAD..len)?;
        self.serve_whole(thread, len)
    }

    /// Brings a part of the request from the pipe into the request buffer.
    fn take(&mut self, part: Range<usize>) -> Result<()> {
        let space = self.buffer.space();
        let space_len = space.len();
        let space = space.get_mut(part.clone()).ok_or_else(|| {
            Error::Protocol(format!(
                "a request of {} bytes, more than {space_len}",
                part.end
            ))
        })?;
        self.data
            .read_exact(space)
            .map_err(|errno| Error::system("cannot read a request from its pipe", errno))
    }

    /// The head of the request of `len` bytes whose first part is in the request buffer, if it is
    /// a WRITE whose data can stay in the pipe.
    fn write_in_pipe(&self, len: usize) -> Option<Request> {
        let request = self.buffer.request(WRITE_HEAD, len).ok()?;
        let header = request.header();
        let stays = header.opcode == Opcode::WRITE
            && !self.session.has_rules()
            && !self.session.may_block(header, request.fixed());
        stays.then_some(request)
    }

    /// Serves a WRITE whose `len` bytes of data are in the pipe.
    fn serve_write(&mut self, thread: &mut ServeThread, request: &Request, len: usize) -> Pipes {
        let mut exchange = WriteExchange {
            request,
            data: WriteData::InPipe {
                pipe: &self.data,
                len,
                taken: 0,
            },
            space: &mut self.buffer.space()[WRITE_HEAD..],
            counters: self.session.counters(),
        };
        let watch = self.session.watch(request.header());
        let answer = self.session.serve(thread, &mut exchange);
        let reply = fulfil(answer, &mut exchange);
        self.session.watched(watch);
        let left = exchange.data.left_in_pipe();
        let header = request.header();
        after_send(self.buffer.send(&self.device, reply, header.unique), header);
        if left == 0 {
            Pipes::Empty
        } else {
            Pipes::Residue
        }
    }

    /// Serves a request of `len` bytes, all of it in the request buffer.
    fn serve_whole(&mut self, thread: &mut ServeThread, len: usize) -> Result<Pipes> {
        let request = match self.buffer.request(len, len) {
            Ok(request) => request,
            Err(malformed) => {
                refuse(&self.session, &self.device, &mut self.buffer, malformed)?;
                return Ok(Pipes::Empty);
            }
        };
        let header = *request.header();
        let payload = self.buffer.payload(&request);
        let fixed = request.fixed();
        let course = self
            .session
            .course(Ruling::Undecided, &header, fixed, payload);
        if let Course::Refuse(errno) = course {
            let reply = Reply::Error(errno);
            after_send(
                self.buffer.send(&self.device, reply, header.unique),
                &header,
            );
            return Ok(Pipes::Empty);
        }
        let lane = match course {
            _ if self.session.may_block(&header, fixed) => Some(None),
            Course::Lane(priority) => Some(Some(priority)),
            _ => None,
        };
        if let Some(lane) = lane {
            detach(&self.session, &self.device, &request, payload, lane);
            return Ok(Pipes::Empty);
        }
        let mut exchange = self.buffer.exchange(&request);
        let watch = self.session.watch(&header);
        let answer = self.session.serve(thread, &mut exchange);
        let counters = self.session.counters();
        let mut pipes = Pipes::Empty;
        let filled = fill(&self.data, &answer);
        self.session.watched(watch);
        match filled {
            Filled::With(count) => {
                counters.reads_spliced.count();
                return Ok(self.send_piped(count, &header));
            }
            Filled::Failed => {
                counters.reads_not_spliced.count();
                pipes = Pipes::Residue;
            }
            Filled::Short => counters.short_copied.count(),
            Filled::NotFile if header.opcode == Opcode::WRITE => counters.short_copied.count(),
            Filled::NotFile => {}
        }
        let reply = fulfil(answer, &mut exchange);
        after_send(
            self.buffer.send(&self.device, reply, header.unique),
            &header,
        );
        Ok(pipes)
    }

    /// Replies with the `count` bytes in the data pipe.
    fn send_piped(&mut self, count: usize, header: &InHeader) -> Pipes {
        let Err(errno) = self.try_send_piped(count, header.unique) else {
            return Pipes::Empty;
        };
        if !matches!(errno, Errno::NOENT | Errno::NODEV | Errno::CONNABORTED) {
            tracing::error!(opcode = %header.opcode, %errno, "a reply could not be spliced");
            // If the kernel took a part of the reply, it has ended the request by itself: then
            // nobody waits for this.
            let failed = Reply::Error(Errno::IO);
            after_send(
                self.buffer.send(&self.device, failed, header.unique),
                header,
            );
        }
        Pipes::Residue
    }

    fn try_send_piped(&self, count: usize, unique: u64) -> Result<(), Errno> {
        let Some(header) = Reply::Body(count).header(unique) else {
            return Ok(());
        };
        self.replies.write(bytemuck::bytes_of(&header))?;
        let mut moved = 0;
        while moved < count {
            let (from, to) = (self.data.reader(), self.replies.writer());
            match splice(from, None, to, None, count - moved, SpliceFlags::NONBLOCK)? {
                0 => return Err(Errno::IO),
                more => moved += more,
            }
        }
        let whole = size_of::<OutHeader>() + count;
        let from = self.replies.reader();
        splice(from, None, &self.device, None, whole, SpliceFlags::empty()).map(drop)
    }

    fn renew_pipes(&mut self) -> Result<()> {
        let max_payload = self.session.negotiated().max_payload();
        self.data = Pipe::whole(max_payload)?;
        self.replies = Pipe::whole(max_payload)?;
        Ok(())
    }
}

/// What came of splicing an answer's data into a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Filled {
    /// So many bytes, more than none: the file had no more.
    With(usize),
    /// The answer is not what a file holds.
    NotFile,
    /// It is not worth it, or the file holds nothing there.
    Short,
    /// It cannot be done, and what is in the pipe is of no use; reading the file tells why.
    Failed,
}

/// Splices the data of `answer` into `pipe`, which is empty.
fn fill(pipe: &Pipe, answer: &Answer) -> Filled {
    match answer {
        Ok(Body::File { len, .. }) if *len <= SHORT => Filled::Short,
        Ok(Body::File { len, .. }) if *len > pipe.payload_max() => Filled::Failed,
        Ok(Body::File { file, offset, len }) => match fill_from(pipe, file, *offset, *len) {
            Ok(0) => Filled::Short,
            Ok(count) => Filled::With(count),
            Err(_) => Filled::Failed,
        },
        _ => Filled::NotFile,
    }
}

/// What `file` holds at `offset`, up to `len` bytes, short at its end only.
fn fill_from(pipe: &Pipe, file: &File, offset: u64, len: usize) -> Result<usize, Errno> {
    let mut at = offset;
    let mut done = 0;
    while done < len {
        let (to, rest) = (pipe.writer(), len - done);
        // Not to block if the pipe were full: nobody else empties it.
        match splice(file, Some(&mut at), to, None, rest, SpliceFlags::NONBLOCK) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// A WRITE whose data is in a pipe.
struct WriteExchange<'a> {
    request: &'a Request,
    data: WriteData<'a>,
    /// Room for the data, then for the reply's body.
    space: &'a mut [u8],
    counters: &'a Counters,
}

/// Where the data of a WRITE is.
#[derive(Clone, Copy)]
enum WriteData<'a> {
    /// There were `len` bytes in the pipe, of which `taken` are gone.
    InPipe {
        pipe: &'a Pipe,
        len: usize,
        taken: usize,
    },
    /// So many bytes are in memory.
    InSpace { len: usize },
}

impl WriteData<'_> {
    fn left_in_pipe(self) -> usize {
        match self {
            Self::InPipe { len, taken, .. } => len - taken,
            Self::InSpace { .. } => 0,
        }
    }
}

impl Exchange for WriteExchange<'_> {
    fn header(&self) -> &InHeader {
        self.request.header()
    }

    fn fixed(&self) -> &[u8] {
        self.request.fixed()
    }

    fn payload(&self) -> &[u8] {
        match self.data {
            WriteData::InPipe { .. } => &[],
            WriteData::InSpace { len } => &self.space[..len],
        }
    }

    fn out(&mut self) -> &mut [u8] {
        self.space
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        if let WriteData::InPipe { .. } = self.data {
            match self.splice_to(file, offset, len) {
                // The file is open for appending, cannot be spliced to at all, or is open for
                // direct I/O that the data is not aligned for (do_splice, fs/splice.c).
                Err(Errno::INVAL) => self.copy_out()?,
                outcome => return outcome,
            }
        }
        write_at(file, self.payload().get(..len).ok_or(Errno::IO)?, offset)
    }
}

impl WriteExchange<'_> {
    /// Splices the first `len` bytes to `file`. `EINVAL` is only said when nothing was taken.
    fn splice_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        let WriteData::InPipe {
            pipe,
            len: have,
            taken,
        } = &mut self.data
        else {
            return Err(Errno::IO);
        };
        if *taken > 0 || len > *have {
            return Err(Errno::IO);
        }
        let mut at = offset;
        while *taken < len {
            let (from, rest) = (pipe.reader(), len - *taken);
            match splice(from, None, file, Some(&mut at), rest, SpliceFlags::empty()) {
                Ok(0) => break,
                Ok(count) => *taken += count,
                Err(Errno::INTR) => {}
                Err(_) if *taken > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        self.counters.writes_spliced.count();
        Ok(*taken)
    }

    /// Brings the data from the pipe into memory.
    fn copy_out(&mut self) -> Result<(), Errno> {
        let WriteData::InPipe {
            pipe,
            len,
            taken: 0,
        } = self.data
        else {
            return Err(Errno::IO);
        };
        pipe.read_exact(self.space.get_mut(..len).ok_or(Errno::IO)?)?;
        self.data = WriteData::InSpace { len };
        self.counters.writes_not_spliced.count();
        Ok(())
    }
}
