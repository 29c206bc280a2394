//! A pipe as splice(2) needs it: with room for a whole request.

use super::Errno;
use crate::error::{Error, Result};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What one slot of a pipe refers to at most, in bytes.
const SLOT: usize = 4096;
/// Slots beside those for data: a request's or reply's head, and one more page since data need not
/// begin at a page's start.
const EXTRA_SLOTS: usize = 2;
/// What a user without CAP_SYS_RESOURCE may ask for.
const SIZE_MAX: &str = "/proc/sys/fs/pipe-max-size";

/// Both ends of a pipe that only this thread uses.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    slots: usize,
}

impl Pipe {
    /// A pipe for requests and replies that carry `payload_len` bytes, or as large a one as this
    /// user may have.
    ///
    /// # Errors
    ///
    /// What pipe(2) says.
    pub fn new(payload_len: usize) -> Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| Error::system("cannot create a pipe", errno))?;
        let wanted = (payload_len.div_ceil(SLOT) + EXTRA_SLOTS) * SLOT;
        let size = fcntl_setpipe_size(&writer, wanted)
            .or_else(|_| fcntl_setpipe_size(&writer, wanted.min(size_max())))
            .or_else(|_| fcntl_getpipe_size(&writer))
            .map_err(|errno| Error::system("cannot learn the size of a pipe", errno))?;
        Ok(Self {
            reader,
            writer,
            slots: size / SLOT,
        })
    }

    /// A pipe for `payload_len` bytes and no less.
    ///
    /// # Errors
    ///
    /// What pipe(2) says, or that this user cannot have one so large.
    pub fn whole(payload_len: usize) -> Result<Self> {
        let pipe = Self::new(payload_len)?;
        if pipe.payload_max() >= payload_len {
            return Ok(pipe);
        }
        Err(Error::Unsupported {
            what: format!(
                "a pipe for {payload_len} bytes cannot be had, only one for {}",
                pipe.payload_max()
            ),
            remedy: "lower --threads or --max-write, or raise fs.pipe-user-pages-soft".into(),
        })
    }

    /// How many bytes a request or reply that goes through it may carry.
    pub fn payload_max(&self) -> usize {
        self.slots.saturating_sub(EXTRA_SLOTS) * SLOT
    }

    /// How many bytes it holds if every slot is full.
    pub fn size(&self) -> usize {
        self.slots * SLOT
    }

    /// Where to splice from.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Where to splice to.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Takes out exactly as many bytes as `buffer` is long; they are in the pipe.
    ///
    /// # Errors
    ///
    /// What read(2) says.
    pub fn read_exact(&self, buffer: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::read(&self.reader, &mut buffer[done..]) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Puts `bytes` in, for which there is room in one slot.
    ///
    /// # Errors
    ///
    /// What write(2) says.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        rustix::io::write(&self.writer, bytes).map(drop)
    }
}

fn size_max() -> usize {
    let text = std::fs::read_to_string(SIZE_MAX).unwrap_or_default();
    text.trim().parse().unwrap_or(usize::MAX)
}
