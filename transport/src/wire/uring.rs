//! FUSE-over-io_uring (fs/fuse/dev_uring.c): the header buffer of a ring entry, and the commands.
//!
//! A ring entry is two buffers of the daemon, given at REGISTER as an array of two `iovec`s: a
//! [`UringReqHeader`] and a payload of at least max(8 KiB, max_write, max_pages x 4 KiB) bytes. The
//! kernel copies a request into them (header, fixed part, payload), completes the command, and
//! takes the reply (an [`super::OutHeader`] in `in_out`, the body in the payload, its length in
//! `payload_sz`) at COMMIT_AND_FETCH.

use super::{assert_sizes, request::wire_structs};
use bytemuck::{Pod, Zeroable};

/// Length in bytes of `in_out` and of `op_in`.
pub const URING_IN_OUT_LEN: usize = 128;

wire_structs! {
    /// `struct fuse_uring_ent_in_out`.
    UringEntInOut {
        flags: u64,
        /// The request's identity in the command that answers it.
        commit_id: u64,
        /// Bytes in the payload buffer: the request's, then the reply's.
        payload_sz: u32,
        padding: u32,
        reserved: u64,
    }
    /// `struct fuse_uring_cmd_req`, in the 80 command bytes of a 128-byte SQE.
    UringCmdReq {
        flags: u64,
        commit_id: u64,
        /// The queue: the index of a possible CPU.
        qid: u16,
        padding: [u8; 6],
    }
}

/// `struct fuse_uring_req_header`: the header buffer of a ring entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct UringReqHeader {
    /// [`super::InHeader`] of the request, [`super::OutHeader`] of the reply.
    pub in_out: [u8; URING_IN_OUT_LEN],
    /// The request's fixed part ([`super::Opcode::fixed_len`]).
    pub op_in: [u8; URING_IN_OUT_LEN],
    /// Identity and payload length.
    pub ring_ent: UringEntInOut,
}

/// `enum fuse_uring_cmd`: an SQE's `cmd_op`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UringCmd(pub u32);

impl UringCmd {
    /// Gives an entry to the kernel.
    pub const REGISTER: Self = Self(1);
    /// Answers the entry's request and gives the entry back.
    pub const COMMIT_AND_FETCH: Self = Self(2);
}

assert_sizes! { UringEntInOut = 32, UringCmdReq = 24, UringReqHeader = 288 }
