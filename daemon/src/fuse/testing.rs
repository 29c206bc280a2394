//! A request without a kernel: drives a file system in unit tests.

use super::{Answer, Body, Errno, Exchange, FileSystem, ServeThread};
use bytemuck::Pod;
use std::os::{fd::BorrowedFd, unix::fs::FileExt};
use transport::wire::{ExtHeader, InHeader, Opcode};

/// Length of the memory that a [`FakeExchange`] lends for a reply, in bytes.
pub const OUT_LEN: usize = 1 << 20;

/// A request in private memory, with room for its reply.
#[derive(Debug)]
pub struct FakeExchange {
    header: InHeader,
    fixed: Vec<u8>,
    payload: Vec<u8>,
    out: Vec<u8>,
}

impl FakeExchange {
    /// A request on `nodeid` by root, without a body.
    pub fn new(opcode: Opcode, nodeid: u64) -> Self {
        Self {
            header: InHeader {
                opcode,
                nodeid,
                unique: 2,
                pid: std::process::id(),
                ..InHeader::default()
            },
            fixed: Vec::new(),
            payload: Vec::new(),
            out: vec![0; OUT_LEN],
        }
    }

    /// The same by another user.
    #[must_use]
    pub fn by(mut self, uid: u32, gid: u32) -> Self {
        (self.header.uid, self.header.gid) = (uid, gid);
        self
    }

    /// The same by another process.
    #[must_use]
    pub fn pid(mut self, pid: u32) -> Self {
        self.header.pid = pid;
        self
    }

    /// Its fixed part.
    #[must_use]
    pub fn arg<T: Pod>(self, arg: &T) -> Self {
        self.fixed_bytes(bytemuck::bytes_of(arg))
    }

    /// Its fixed part, well formed or not.
    #[must_use]
    pub fn fixed_bytes(mut self, bytes: &[u8]) -> Self {
        self.fixed = bytes.to_vec();
        self
    }

    /// Bytes behind the fixed part.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.payload.extend_from_slice(bytes);
        self
    }

    /// A name behind the fixed part, closed by a zero.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.bytes(name.as_bytes()).bytes(&[0])
    }

    /// An extension at its end, padded to a multiple of 8 bytes.
    #[must_use]
    pub fn extension(mut self, kind: u32, body: &[u8]) -> Self {
        let size = (size_of::<ExtHeader>() + body.len()).next_multiple_of(8);
        let head = ExtHeader {
            size: size as u32,
            kind,
        };
        let padding = size - size_of::<ExtHeader>() - body.len();
        self.header.total_extlen += (size / 8) as u16;
        self = self.bytes(bytemuck::bytes_of(&head)).bytes(body);
        self.bytes(&[0; 8][..padding])
    }

    /// Lets `fs` answer, and returns the reply's body as the kernel would get it.
    ///
    /// # Errors
    ///
    /// What `fs` says.
    pub fn ask(mut self, fs: &dyn FileSystem, thread: &mut ServeThread) -> Result<Vec<u8>, Errno> {
        thread
            .interrupt_flag()
            .store(false, std::sync::atomic::Ordering::Release);
        let answer = fs.serve(thread, &mut self);
        self.body(answer)
    }

    /// The same, read as the structure that the reply starts with.
    ///
    /// # Errors
    ///
    /// What `fs` says.
    pub fn ask_for<T: Pod>(
        self,
        fs: &dyn FileSystem,
        thread: &mut ServeThread,
    ) -> Result<T, Errno> {
        let body = self.ask(fs, thread)?;
        Ok(bytemuck::pod_read_unaligned(&body[..size_of::<T>()]))
    }

    fn body(&self, answer: Answer) -> Result<Vec<u8>, Errno> {
        match answer? {
            Body::Empty | Body::NoReply => Ok(Vec::new()),
            Body::Out(len) => Ok(self.out[..len].to_vec()),
            Body::File { file, offset, len } => {
                let mut bytes = vec![0; len];
                let read = file.read_at(&mut bytes, offset).map_err(errno)?;
                bytes.truncate(read);
                Ok(bytes)
            }
        }
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl Exchange for FakeExchange {
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
        &mut self.out
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Errno> {
        let data = self.payload.get(..len).ok_or(Errno::IO)?;
        rustix::io::pwrite(file, data, offset)
    }
}

/// Runs `test` on a thread of its own, which it may change for good, if this is root.
pub fn on_a_thread_of_root(test: impl FnOnce() + Send + 'static) {
    if rustix::process::geteuid().is_root() {
        std::thread::spawn(test).join().unwrap();
    }
}
