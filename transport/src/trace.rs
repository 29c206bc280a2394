//! What the tracing programs tell of a request, once it has ended: one [`Life`] a record of a ring buffer.
//!
//! Written by: the program on `fuse_request_end`. Read by: `shmfuse trace`. A record is handed over whole by
//! the kernel's ring buffer; nothing here is shared while it changes.

use bytemuck::{Pod, Zeroable};

/// Bytes of a task's name, the terminating NUL included (`TASK_COMM_LEN`, include/linux/sched.h).
pub const NAME_LEN: usize = 16;

/// A request from its sending to its end. Times are nanoseconds of `CLOCK_MONOTONIC`; 0 stands for a stage
/// that was not seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Life {
    /// The kernel made the request, in the task that asked.
    pub sent_ns: u64,
    /// It lay in a ring entry, before the daemon knew; or the daemon had read it from `/dev/fuse`.
    pub arrived_ns: u64,
    /// The answer was given to the kernel, by a commit; or the daemon began to write it to `/dev/fuse`.
    pub committed_ns: u64,
    /// The answer was there for the task that asked.
    pub ended_ns: u64,
    /// The request's number.
    pub unique: u64,
    /// The inode that it is about.
    pub nodeid: u64,
    /// What it asks for.
    pub opcode: u32,
    /// Whose file-system user and group it carries.
    pub uid: u32,
    /// As `uid`.
    pub gid: u32,
    /// The task that asked; 0 where the kernel asks for itself.
    pub pid: u32,
    /// 0 or a negative errno.
    pub error: i32,
    /// Bytes of the request, its header included.
    pub in_len: u32,
    /// Bytes of the answer, its header included.
    pub out_len: u32,
    /// The CPUs of sending (bits 0..16) and end (16..32).
    pub cpus: u32,
    /// The name of the task in which the request was sent.
    pub name: [u8; NAME_LEN],
}

impl Life {
    /// Nanoseconds from sending to end.
    pub const fn total_ns(&self) -> u64 {
        self.ended_ns.saturating_sub(self.sent_ns)
    }
}

/// What is traced, by the constants of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// A bit for each opcode, `1 << opcode`; opcodes from 64 on are bit 0.
    pub opcodes: u64,
    /// Only requests of this user.
    pub uid: Option<u32>,
    /// Only requests that took so long, in nanoseconds.
    pub slow_ns: u64,
}

impl Filter {
    /// The bit of an opcode in [`opcodes`](Self::opcodes).
    pub const fn bit(opcode: u32) -> u64 {
        if opcode < u64::BITS { 1 << opcode } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_has_a_bit_and_those_of_the_table_their_own() {
        assert_eq!(Filter::bit(1), 2);
        assert_eq!(Filter::bit(63), 1 << 63);
        assert_eq!(Filter::bit(4096), 1);
    }
}
