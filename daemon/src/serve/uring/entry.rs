//! The life of a ring entry as types: what is handed over is spent.
//!
//! An entry is a pair of buffers lent to the kernel (REGISTER). When the kernel has put a request
//! into it, it completes the entry's command; the entry is ours until a COMMIT_AND_FETCH answers
//! the request and lends it out again:
//!
//! ```text
//!  ring ──> Arrived ──> Owed (+ Request) ──> Commit ──> ring
//!           one a       the right to the     one a
//!           completion  entry's memory       request
//! ```
//!
//! Each arrow consumes what stands before it, and nothing here can be cloned. A second commit of
//! one request, which would leave its application in uninterruptible sleep, cannot be written down.

use crate::fuse::Reply;
use transport::wire::{InHeader, Opcode, URING_IN_OUT_LEN};

/// A queue of the connection: the index of a possible CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct QueueId(pub u16);

/// An entry of a queue, counted from 0 in the order of registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryIndex(pub u32);

/// The kernel has completed an entry's command: the entry is the daemon's.
#[derive(Debug)]
#[must_use = "the entry's request waits for its answer"]
pub struct Arrived {
    entry: EntryIndex,
}

impl Arrived {
    /// Says that `entry` is the daemon's.
    ///
    /// # Safety
    ///
    /// The kernel has completed the entry's latest command with success, and this is the only
    /// `Arrived` made of that completion. (What follows from it is exclusive access to the entry's
    /// memory.)
    #[expect(
        unsafe_code,
        reason = "the claim is the caller's; nothing is done here"
    )]
    pub(crate) unsafe fn new(entry: EntryIndex) -> Self {
        Self { entry }
    }

    /// Which entry.
    pub fn entry(&self) -> EntryIndex {
        self.entry
    }

    /// Takes the request up: from here on it is owed an answer.
    pub(super) fn take_up(self, commit_id: u64) -> Owed {
        Owed {
            entry: self.entry,
            commit_id,
        }
    }
}

/// The kernel has given an entry up, and will not touch its memory again.
#[derive(Debug)]
pub struct Lost {
    entry: EntryIndex,
    errno: i32,
}

impl Lost {
    /// Says that the kernel has no hold of `entry`.
    ///
    /// # Safety
    ///
    /// The entry's latest command has failed with `errno`.
    #[expect(
        unsafe_code,
        reason = "the claim is the caller's; nothing is done here"
    )]
    pub(crate) unsafe fn new(entry: EntryIndex, errno: i32) -> Self {
        Self { entry, errno }
    }

    /// Which entry.
    pub fn entry(&self) -> EntryIndex {
        self.entry
    }

    /// Why; positive.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// Whether the reason is that the connection has ended: unmounted or aborted
    /// (`fuse_uring_cmd`, `fuse_uring_entry_teardown`, fs/fuse/dev_uring.c).
    pub fn connection_ended(&self) -> bool {
        matches!(self.errno, libc::ENOTCONN | libc::ECONNABORTED)
    }
}

/// A request that has not been answered: the right to its entry's memory, and the duty to commit.
#[derive(Debug)]
#[must_use = "the application waits until the request is committed"]
pub struct Owed {
    entry: EntryIndex,
    commit_id: u64,
}

impl Owed {
    /// Which entry it lies in.
    pub fn entry(&self) -> EntryIndex {
        self.entry
    }

    /// The identity under which the kernel awaits the answer; the request's `unique`.
    pub fn commit_id(&self) -> u64 {
        self.commit_id
    }

    /// The reply lies in the entry: what is left is to tell the kernel.
    pub(super) fn answered(self, reply: Reply) -> Commit {
        Commit {
            entry: self.entry,
            commit_id: self.commit_id,
            reply,
        }
    }
}

/// An answered request whose COMMIT_AND_FETCH is to be submitted.
#[derive(Debug)]
#[must_use = "the application waits until the request is committed"]
pub struct Commit {
    entry: EntryIndex,
    commit_id: u64,
    reply: Reply,
}

impl Commit {
    /// What the reply says, for rings that keep accounts.
    pub(crate) fn reply(&self) -> Reply {
        self.reply
    }

    /// The command's arguments. The entry is the kernel's when it is submitted.
    pub(crate) fn into_parts(self) -> (EntryIndex, u64) {
        (self.entry, self.commit_id)
    }
}

/// A request's words, copied out of the entry: what is read here does not change any more.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its header.
    pub header: InHeader,
    /// Bytes in the entry's payload buffer; never more than the buffer has.
    pub payload_len: usize,
    fixed: [u8; URING_IN_OUT_LEN],
    fixed_len: usize,
}

impl Request {
    /// Checks what the kernel wrote.
    pub(super) fn new(header: InHeader, op_in: [u8; URING_IN_OUT_LEN], payload_len: usize) -> Self {
        let behind_header = (header.len as usize).saturating_sub(size_of::<InHeader>());
        Self {
            header,
            payload_len,
            fixed: op_in,
            fixed_len: header
                .opcode
                .fixed_len()
                .min(behind_header)
                .min(URING_IN_OUT_LEN),
        }
    }

    /// Its fixed part: [`Opcode::fixed_len`] bytes, less only if the request is shorter.
    pub fn fixed(&self) -> &[u8] {
        &self.fixed[..self.fixed_len]
    }

    /// What it asks for.
    pub fn opcode(&self) -> Opcode {
        self.header.opcode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: Opcode, len: u32) -> InHeader {
        InHeader {
            len,
            opcode,
            unique: 2,
            ..InHeader::default()
        }
    }

    #[test]
    fn fixed_part_is_as_long_as_its_opcode_says() {
        let request = Request::new(header(Opcode::WRITE, 40 + 40 + 4096), [7; 128], 4096);
        assert_eq!(request.fixed(), [7; 40]);
    }

    #[test]
    fn fixed_part_of_a_short_request_is_short() {
        let request = Request::new(header(Opcode::WRITE, 40 + 8), [7; 128], 0);
        assert_eq!(request.fixed(), [7; 8]);
        let request = Request::new(header(Opcode::WRITE, 3), [7; 128], 0);
        assert_eq!(request.fixed(), [0; 0]);
    }

    #[test]
    fn a_name_is_payload_only() {
        let request = Request::new(header(Opcode::LOOKUP, 40 + 2), [7; 128], 2);
        assert_eq!(request.fixed(), [0; 0]);
    }
}
