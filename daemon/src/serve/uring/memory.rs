//! The memory that a queue's entries lie in.
//!
//! ```text
//!  chunk 0                          chunk 1 (registered when locks take up entries)
//!  headers   |h0|h1|..|h(d-1)|      |h(d)|..
//!  payloads  |p0     |p1     |..    |p(d)   |..
//! ```
//!
//! Every chunk holds as many entries as the queue is deep; the entry's index says chunk and place.
//! Where a chunk's bytes come from is of no concern to what lies above: private memory here, maps
//! shared with kernel programs in the shm transport.
#![expect(
    unsafe_code,
    reason = "the kernel writes to this memory: references to it exist only while an entry is ours"
)]

use super::{
    entry::{Arrived, Commit, EntryIndex, Lost, Owed, Request},
    ring::Ring,
};
use crate::{
    error::{Error, Result},
    fuse::{Errno, Reply},
};
use memmap2::{Advice, MmapMut};
use std::{any::Any, fmt, io, ops::Range, ptr::NonNull};
use transport::wire::{InHeader, OutHeader, UringReqHeader};

/// Distance in bytes between the headers of neighbouring entries in private memory: whole cache
/// lines, so that two entries share none.
const HEADER_STRIDE: usize = size_of::<UringReqHeader>().next_multiple_of(64);
/// Payloads start at a page, as O_DIRECT on the lower file demands.
const PAGE: usize = 4096;

/// The buffers of some entries.
///
/// # Invariants
///
/// `headers` is valid for `(count - 1) * header_stride` bytes and a header more, `payloads` for
/// `(count - 1) * payload_stride + payload_len` bytes; both live as long as `_owner`, and nothing
/// else in the process refers to those bytes. Both are aligned for a `UringReqHeader`.
pub struct Chunk {
    headers: NonNull<u8>,
    header_stride: usize,
    payloads: NonNull<u8>,
    payload_stride: usize,
    payload_len: usize,
    count: usize,
    _owner: Box<dyn Any + Send>,
}

// SAFETY: the pointers are to memory that `_owner` (Send) holds and nobody else refers to.
unsafe impl Send for Chunk {}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("count", &self.count)
            .field("payload_len", &self.payload_len)
            .finish_non_exhaustive()
    }
}

/// Whether a chunk asks for huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// For data: fewer pages to pin and translate when the kernel copies.
    Huge,
    /// For entries that wait for locks and touch a page at most.
    Small,
}

impl Chunk {
    /// `count` entries in private memory with payloads of `payload_len` bytes each. Pages are
    /// taken from the system when they are first used.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn private(count: usize, payload_len: usize, pages: Pages) -> Result<Self> {
        let map = |bytes: usize| {
            MmapMut::map_anon(bytes).map_err(|source| {
                Error::system("cannot map memory for the ring entries", source)
                    .with_remedy("less --queue-depth or --max-write, or more memory")
            })
        };
        let payload_stride = payload_len.next_multiple_of(PAGE);
        let mut headers = map(count * HEADER_STRIDE)?;
        let mut payloads = map(count * payload_stride)?;
        if pages == Pages::Huge
            && let Err(error) = payloads.advise(Advice::HugePage)
        {
            // A kernel without transparent huge pages: slower by a few percent, else the same.
            tracing::debug!(%error, "no huge pages for the payloads");
        }
        let pointer = |map: &mut MmapMut| {
            NonNull::new(map.as_mut_ptr()).ok_or_else(|| Error::Unsupported {
                what: "memory was mapped at address 0".into(),
                remedy: String::new(),
            })
        };
        Ok(Self {
            headers: pointer(&mut headers)?,
            header_stride: HEADER_STRIDE,
            payloads: pointer(&mut payloads)?,
            payload_stride,
            payload_len,
            count,
            _owner: Box::new((headers, payloads)),
        })
    }

    /// Entries in memory that `owner` keeps mapped, such as maps shared with kernel programs.
    ///
    /// # Safety
    ///
    /// The struct's invariants: `headers` and `payloads` are valid for `count` headers and payloads at
    /// these strides for as long as `owner` lives, and nothing else in the process refers to the
    /// payloads, or to the headers otherwise than by atomics or raw pointers.
    pub(crate) unsafe fn shared(
        headers: (NonNull<u8>, usize),
        payloads: (NonNull<u8>, usize),
        payload_len: usize,
        count: usize,
        owner: Box<dyn Any + Send>,
    ) -> Self {
        Self {
            headers: headers.0,
            header_stride: headers.1,
            payloads: payloads.0,
            payload_stride: payloads.1,
            payload_len,
            count,
            _owner: owner,
        }
    }

    fn header(&self, place: usize) -> NonNull<UringReqHeader> {
        assert!(place < self.count);
        // SAFETY: inside the headers by the invariants and the line above.
        unsafe { self.headers.add(place * self.header_stride) }.cast()
    }

    fn payload(&self, place: usize) -> NonNull<u8> {
        assert!(place < self.count);
        // SAFETY: inside the payloads by the invariants and the line above.
        unsafe { self.payloads.add(place * self.payload_stride) }
    }
}

/// A request or reply was not as the protocol says.
#[derive(Debug, thiserror::Error)]
pub enum Corrupt {
    /// There is no such entry.
    #[error("the kernel completed entry {0:?}, which does not exist")]
    NoEntry(EntryIndex),
    /// The entry's request has not been answered yet.
    #[error("the kernel completed entry {0:?} while its request was being served")]
    NotLent(EntryIndex),
    /// Longer than the payload buffer.
    #[error("entry {entry:?} is said to hold {len} bytes of payload, its buffer has {max}")]
    Payload {
        /// Which entry.
        entry: EntryIndex,
        /// Bytes, as the kernel says.
        len: u32,
        /// Bytes there are.
        max: usize,
    },
}

/// Who may touch an entry's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    /// Not registered yet, or given up by the kernel.
    Nobody,
    /// Registered, or committed.
    Kernel,
    /// A request in it is owed its answer.
    Daemon,
}

/// The entries of one queue, and who holds them.
///
/// Dropped while the kernel holds entries, it leaks their memory: a late request must not be
/// copied over what would lie there next.
#[derive(Debug)]
pub struct EntryMemory {
    chunks: Vec<Chunk>,
    holders: Vec<Holder>,
    /// How many of them are the kernel.
    lent: usize,
    per_chunk: usize,
    payload_len: usize,
}

impl EntryMemory {
    /// The entries of `first`.
    pub fn new(first: Chunk) -> Self {
        Self {
            holders: vec![Holder::Nobody; first.count],
            lent: 0,
            per_chunk: first.count,
            payload_len: first.payload_len,
            chunks: vec![first],
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Bytes that each entry's payload buffer has.
    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// As many entries again as a chunk has, and their indices.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn grow(&mut self) -> Result<Range<u32>> {
        let chunk = Chunk::private(self.per_chunk, self.payload_len, Pages::Small)?;
        let first = self.holders.len();
        self.chunks.push(chunk);
        self.holders.resize(first + self.per_chunk, Holder::Nobody);
        Ok(first as u32..self.holders.len() as u32)
    }

    /// Registers an entry with the kernel, by `ring`.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says; `EBUSY` if the entry is not free, `EINVAL` if there is none.
    pub fn lend(&mut self, entry: EntryIndex, ring: &mut impl Ring) -> io::Result<()> {
        let (chunk, place) = self.place(entry).ok_or(Errno::INVAL)?;
        let buffers = [
            libc::iovec {
                iov_base: chunk.header(place).as_ptr().cast(),
                iov_len: size_of::<UringReqHeader>(),
            },
            libc::iovec {
                iov_base: chunk.payload(place).as_ptr().cast(),
                iov_len: chunk.payload_len,
            },
        ];
        if self.holders[entry.0 as usize] != Holder::Nobody {
            return Err(Errno::BUSY.into());
        }
        self.set(entry, Holder::Kernel);
        // SAFETY: the buffers are valid by the chunk's invariants. They live, and are not referred
        // to, until `receive` or `lost` has been given the ring's word (which is why the chunks are
        // leaked if it never comes), and again from each `answer` on.
        unsafe { ring.register(entry, buffers) }
    }

    /// Notes that the kernel has given an entry up.
    pub fn lost(&mut self, lost: &Lost) {
        if (lost.entry().0 as usize) < self.holders.len() {
            self.set(lost.entry(), Holder::Nobody);
        }
    }

    /// How many entries the kernel holds.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Copies an arrived request's words out of its entry.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the kernel, or whoever else can write to the memory, broke the protocol.
    pub fn receive(&mut self, arrived: Arrived) -> Result<(Owed, Request), Corrupt> {
        let entry = arrived.entry();
        let (chunk, place) = self.place(entry).ok_or(Corrupt::NoEntry(entry))?;
        let (max, header) = (chunk.payload_len, chunk.header(place));
        if self.holders[entry.0 as usize] != Holder::Kernel {
            return Err(Corrupt::NotLent(entry));
        }
        self.set(entry, Holder::Daemon);
        // SAFETY: valid and aligned by the chunk's invariants; the kernel is done with it
        // (`Arrived`). A volatile read: other writers, were there any, make wrong values, and those
        // are checked below.
        let header = unsafe { header.read_volatile() };
        let in_header: InHeader =
            bytemuck::pod_read_unaligned(&header.in_out[..size_of::<InHeader>()]);
        let len = header.ring_ent.payload_sz;
        if len as usize > max {
            return Err(Corrupt::Payload { entry, len, max });
        }
        let owed = arrived.take_up(header.ring_ent.commit_id);
        Ok((owed, Request::new(in_header, header.op_in, len as usize)))
    }

    /// The payload buffer of a request that is owed an answer.
    pub fn payload<'a>(&'a mut self, owed: &'a mut Owed) -> &'a mut [u8] {
        let (chunk, place) = self.place_of(owed);
        // SAFETY: valid by the chunk's invariants. The entry is ours (`Owed`), so the kernel does
        // not touch it, and the borrow of `owed`, of which there is one, makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(chunk.payload(place).as_ptr(), chunk.payload_len) }
    }

    /// The payload buffers of requests that are owed answers, in the same order.
    pub fn payloads<'a>(&'a mut self, owed: &'a mut [Owed]) -> Vec<&'a mut [u8]> {
        let payload = |owed: &mut Owed| {
            let (chunk, place) = self.place_of(owed);
            (chunk.payload(place), chunk.payload_len)
        };
        let payloads = owed.iter_mut().map(payload);
        // SAFETY: as in `payload`; there is one `Owed` of an entry, so no two of them have the same buffer,
        // and buffers do not overlap.
        let slice = |(start, len): (NonNull<u8>, usize)| unsafe {
            std::slice::from_raw_parts_mut(start.as_ptr(), len)
        };
        payloads.map(slice).collect()
    }

    /// Writes the reply's header. A body lies in the payload buffer already.
    pub fn answer(&mut self, owed: Owed, reply: Reply) -> Commit {
        let unique = owed.commit_id();
        // A request without a reply (NOTIFY_REPLY) gives its entry back by a commit like any other.
        let empty = OutHeader {
            len: size_of::<OutHeader>() as u32,
            error: 0,
            unique,
        };
        let out = reply.header(unique).unwrap_or(empty);
        let len = reply.body_len() as u32;
        let (chunk, place) = self.place_of(&owed);
        let header = chunk.header(place).as_ptr();
        // SAFETY: in bounds and aligned by the chunk's invariants; the entry is ours (`Owed`).
        // `in_out` is larger than an OutHeader and as aligned as the whole.
        unsafe {
            (&raw mut (*header).in_out)
                .cast::<OutHeader>()
                .write_volatile(out)
        };
        // SAFETY: as above.
        unsafe { (&raw mut (*header).ring_ent.payload_sz).write_volatile(len) };
        self.set(owed.entry(), Holder::Kernel);
        owed.answered(reply)
    }

    fn set(&mut self, entry: EntryIndex, new: Holder) {
        let holder = &mut self.holders[entry.0 as usize];
        self.lent -= usize::from(*holder == Holder::Kernel);
        self.lent += usize::from(new == Holder::Kernel);
        *holder = new;
    }

    fn place(&self, entry: EntryIndex) -> Option<(&Chunk, usize)> {
        let entry = entry.0 as usize;
        let chunk = self.chunks.get(entry / self.per_chunk)?;
        Some((chunk, entry % self.per_chunk))
    }

    fn place_of(&self, owed: &Owed) -> (&Chunk, usize) {
        self.place(owed.entry())
            .expect("an Owed is made by `receive`, of an entry that exists")
    }
}

impl Drop for EntryMemory {
    fn drop(&mut self) {
        if self.lent() > 0 {
            std::mem::forget(std::mem::take(&mut self.chunks));
        }
    }
}
