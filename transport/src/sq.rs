//! Handing SQEs to the kernel (protocol 5).

use crate::{
    error::{Corrupt, PushError},
    index::{Position, QueueIndex, Unique, used},
    layout::{Ring, SQ_ENTRIES, SqeWords},
    sync::weakened,
    tag::Tag,
    wire::UringCmd,
};

/// `IORING_OP_NOP`.
const OP_NOP: u8 = 0;
/// `IORING_OP_POLL_ADD`.
const OP_POLL_ADD: u8 = 6;
/// `IORING_POLL_ADD_MULTI`, in the field `len`.
const POLL_MULTI: u64 = 1;
/// `POLLIN`.
const POLLIN: u64 = 1;
/// `IORING_OP_URING_CMD` (include/uapi/linux/io_uring.h).
const OP_URING_CMD: u8 = 46;
/// `IOSQE_FIXED_FILE`: the descriptor is an index among the ring's registered files.
const FIXED_FILE: u64 = 1 << 8;
/// Where `/dev/fuse` is among the registered files of each ring (5.1).
const DEVICE: u32 = 0;
/// `IORING_OP_FUTEX_WAKE`, Linux 6.7.
const OP_FUTEX_WAKE: u8 = 52;
/// `FUTEX2_SIZE_U32 | FUTEX2_PRIVATE` (include/uapi/linux/futex.h).
const FUTEX2_U32_PRIVATE: u32 = 0x02 | 0x80;
/// `FUTEX_BITSET_MATCH_ANY`.
const FUTEX_ANY: u64 = 0xffff_ffff;

/// The contents of one SQE: nine words; the other seven of its 128 bytes are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sqe {
    op_and_fd: u64,
    cmd_op: u64,
    addr: u64,
    len: u64,
    user_data: u64,
    addr3: u64,
    commit_id: u64,
    queue: u64,
}

impl Sqe {
    const fn op(op: u8, fd: u32) -> u64 {
        op as u64 | (fd as u64) << 32
    }

    /// A command to `/dev/fuse`.
    const OP_DEVICE: u64 = Self::op(OP_URING_CMD, DEVICE) | FIXED_FILE;

    /// Gives an entry to the kernel: `FUSE_IO_URING_CMD_REGISTER`. `iovecs` is the address of an
    /// array of two: header buffer and payload.
    pub const fn register(iovecs: u64, queue: QueueIndex, tag: Tag) -> Self {
        Self {
            op_and_fd: Self::OP_DEVICE,
            cmd_op: UringCmd::REGISTER.0 as u64,
            addr: iovecs,
            len: 2,
            user_data: tag.to_user_data(),
            addr3: 0,
            commit_id: 0,
            queue: queue.0 as u64,
        }
    }

    /// Wakes one thread that sleeps at `address` in the submitting process (7.4).
    #[inline(always)]
    pub const fn futex_wake(address: u64, tag: Tag) -> Self {
        Self {
            op_and_fd: Self::op(OP_FUTEX_WAKE, FUTEX2_U32_PRIVATE),
            cmd_op: 1,
            addr: address,
            len: 0,
            user_data: tag.to_user_data(),
            addr3: FUTEX_ANY,
            commit_id: 0,
            queue: 0,
        }
    }

    /// Completes each time that `fd` can be read, until a completion says otherwise. The daemon's own
    /// affair: `user_data` is no tag.
    pub const fn poll(fd: u32, user_data: u64) -> Self {
        Self {
            op_and_fd: Self::op(OP_POLL_ADD, fd),
            cmd_op: 0,
            addr: 0,
            len: POLL_MULTI | POLLIN << 32,
            user_data,
            addr3: 0,
            commit_id: 0,
            queue: 0,
        }
    }

    /// The same with another `user_data`: for a command of an entry that the program is to leave
    /// alone.
    #[must_use]
    pub const fn with_user_data(mut self, user_data: u64) -> Self {
        self.user_data = user_data;
        self
    }

    /// Does nothing but complete (6.7).
    #[inline(always)]
    pub const fn nop(tag: Tag) -> Self {
        Self {
            op_and_fd: Self::op(OP_NOP, 0),
            cmd_op: 0,
            addr: 0,
            len: 0,
            user_data: tag.to_user_data(),
            addr3: 0,
            commit_id: 0,
            queue: 0,
        }
    }

    /// The words as they lie in the SQ.
    pub const fn words(&self) -> [u64; 16] {
        [
            self.op_and_fd,
            self.cmd_op,
            self.addr,
            self.len,
            self.user_data,
            0,
            self.addr3,
            self.commit_id,
            self.queue,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]
    }
}

impl SqeWords {
    #[inline(always)]
    fn write(&self, sqe: &Sqe) {
        for (word, value) in self.0.iter().zip(sqe.words()) {
            word.set(value);
        }
    }

    /// The tag's `user_data`; for the kernel's model.
    #[cfg(any(test, feature = "testing"))]
    pub fn user_data(&self) -> u64 {
        self.0[4].get()
    }

    /// The commit id; for the kernel's model.
    #[cfg(any(test, feature = "testing"))]
    pub fn commit_id(&self) -> u64 {
        self.0[7].get()
    }
}

/// What every commit of one queue's slot has in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The slot's queue.
    pub queue: QueueIndex,
    /// The tag of the entry, naming the ring it is submitted on.
    pub tag: Tag,
}

impl Commit {
    /// The command that answers the entry's request and gives the entry back:
    /// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`.
    #[inline(always)]
    pub const fn sqe(&self, unique: Unique) -> Sqe {
        Sqe {
            op_and_fd: Sqe::OP_DEVICE,
            cmd_op: UringCmd::COMMIT_AND_FETCH.0 as u64,
            addr: 0,
            len: 0,
            user_data: self.tag.to_user_data(),
            addr3: 0,
            commit_id: unique.get(),
            queue: self.queue.0 as u64,
        }
    }
}

/// The right to write one SQ. There is one at a time (protocol 2).
#[derive(Debug)]
pub struct SqWriter<'m, const S: usize = SQ_ENTRIES, const C: usize = { crate::layout::CQ_ENTRIES }>
{
    ring: &'m Ring<S, C>,
    /// Our own copy (protocol 10.4).
    tail: Position,
}

impl<'m, const S: usize, const C: usize> SqWriter<'m, S, C> {
    /// Becomes the SQ's writer, where the last one stopped. The program does so at each arrival.
    #[inline(always)]
    pub fn attach(ring: &'m Ring<S, C>) -> Self {
        Self {
            ring,
            tail: ring.words.sq_tail.own(),
        }
    }

    /// Takes note of what was written on the caller's behalf in its own thread: the worker calls it
    /// after each `io_uring_enter` (2.3).
    pub fn resync(&mut self) {
        self.tail = self.ring.words.sq_tail.own();
    }

    /// Where the next SQE goes.
    pub const fn tail(&self) -> Position {
        self.tail
    }

    /// Reserves the next place.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`], which a correct SQ never is (5.4); [`PushError::Corrupt`], if the
    /// positions cannot be.
    #[inline(always)]
    pub fn reserve(&mut self) -> Result<SqRoom<'_, 'm, S, C>, PushError> {
        let head = self.ring.words.sq_head.observe();
        match used::<u32, S>(self.tail, head) {
            Some(n) if n < S || weakened!(SqIgnoresFull) => Ok(SqRoom { writer: self }),
            Some(_) => Err(PushError::Full),
            None => Err(Corrupt::Positions {
                tail: self.tail.0,
                head: head.0,
            }
            .into()),
        }
    }

    /// Whether the kernel may not have taken all that was published. By a look that orders nothing: the
    /// kernel's head may be further on, never behind.
    #[cfg(not(target_arch = "bpf"))]
    pub fn is_pending(&self) -> bool {
        self.ring.words.sq_head.observe() != self.tail
    }

    /// Whether the poll thread sleeps and has to be told: to be asked after a publication (5.3,
    /// SP-POLL).
    #[cfg(not(target_arch = "bpf"))]
    pub fn needs_wakeup(&self) -> bool {
        /// `IORING_SQ_NEED_WAKEUP`.
        const NEED_WAKEUP: u32 = 1;
        self.ring.words.sq_flags.after_publish() & NEED_WAKEUP != 0
    }
}

/// A reserved place in an SQ.
#[derive(Debug)]
#[must_use = "a reserved place is published or given up"]
pub struct SqRoom<
    'w,
    'm,
    const S: usize = SQ_ENTRIES,
    const C: usize = { crate::layout::CQ_ENTRIES },
> {
    writer: &'w mut SqWriter<'m, S, C>,
}

impl<const S: usize, const C: usize> SqRoom<'_, '_, S, C> {
    /// The place.
    pub const fn position(&self) -> Position {
        self.writer.tail
    }

    /// Writes the SQE and hands it over (SP-SQ).
    #[inline(always)]
    pub fn publish(self, sqe: &Sqe) {
        let SqWriter { ring, tail } = self.writer;
        if weakened!(SqTailBeforeSqe) {
            ring.words.sq_tail.publish(tail.next());
        }
        if let Some(place) = ring.sqes.get(tail.place::<S>()) {
            place.write(sqe);
        }
        *tail = tail.next();
        ring.words.sq_tail.publish(*tail);
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::{
        index::{RingIndex, SlotIndex},
        layout::Blank,
        tag::TagKind,
    };
    extern crate std;
    use std::boxed::Box;

    fn tag() -> Tag {
        Tag {
            cookie: 1,
            kind: TagKind::Entry,
            ring: RingIndex::PROGRAM,
            queue: QueueIndex(2),
            slot: SlotIndex(3),
        }
    }

    #[test]
    fn a_commit_lies_where_the_kernel_looks_for_it() {
        let commit = Commit {
            queue: QueueIndex(2),
            tag: tag(),
        };
        let sqe = commit.sqe(Unique::new(77).unwrap());
        let bytes: [u8; 128] = bytemuck::cast(sqe.words());
        assert_eq!(bytes[0], 46);
        assert_eq!(bytes[1..8], [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..12], 2u32.to_le_bytes());
        assert_eq!(bytes[32..40], tag().to_user_data().to_le_bytes());
        let command: crate::wire::UringCmdReq = bytemuck::pod_read_unaligned(&bytes[48..72]);
        assert_eq!((command.flags, command.commit_id, command.qid), (0, 77, 2));
    }

    #[test]
    fn an_sq_refuses_when_full_and_takes_again_when_the_kernel_has_read() {
        let ring = Box::new(Ring::<2, 4>::blank());
        let start = Position(u32::MAX);
        ring.words.sq_tail.publish(start);
        ring.words.sq_head.release(start);
        let mut sq = SqWriter::attach(&ring);
        let sqe = Sqe::futex_wake(64, tag());
        sq.reserve().unwrap().publish(&sqe);
        sq.reserve().unwrap().publish(&sqe);
        assert_eq!(sq.reserve().unwrap_err(), PushError::Full);
        ring.words.sq_head.release(start.next());
        assert!(sq.reserve().is_ok());
        assert_eq!(sq.tail(), Position(1));
    }

    #[test]
    fn positions_further_apart_than_the_sq_is_long_are_corrupt() {
        let ring = Box::new(Ring::<2, 4>::blank());
        for head in [1, 1 << 31, u32::MAX - 2] {
            ring.words.sq_head.release(Position(head));
            let mut sq = SqWriter::attach(&ring);
            assert!(matches!(sq.reserve(), Err(PushError::Corrupt(_))));
        }
    }
}
