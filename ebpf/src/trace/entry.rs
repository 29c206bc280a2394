//! From an io_uring's completion or submission to the FUSE request that it carries.
//!
//! Nothing here is known to be what it is taken for: another ring of the daemon may complete something
//! else. So all is read by `bpf_probe_read_kernel`, which bears any address, and what comes out is a key
//! for a map of requests under way: a wrong one is not found there.
#![expect(unsafe_code, reason = "reads of the kernel's memory by a helper")]

use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::request::{FieldOffset, RequestId};

#[unsafe(no_mangle)]
static OFFSET_IO_KIOCB_OPCODE: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_IO_URING_CMD_SQE: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_IO_URING_CMD_PDU: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_RING_ENT_FUSE_REQ: FieldOffset = FieldOffset::UNSET;

/// `IORING_OP_URING_CMD`, include/uapi/linux/io_uring.h.
const OP_URING_CMD: u8 = 46;
/// Where `cmd_op` and `cmd` lie in `struct io_uring_sqe`, the same file.
const SQE_CMD_OP: usize = 8;
const SQE_CMD: usize = 48;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`, and where `commit_id` lies in `struct fuse_uring_cmd_req`
/// (include/uapi/linux/fuse.h).
const COMMIT_AND_FETCH: u32 = 2;
const COMMIT_ID: usize = 8;

/// The request in the ring entry that `kiocb` (a `struct io_kiocb`) completes for, if it is one.
///
/// The command's private bytes hold the entry (`uring_cmd_to_ring_ent`, fs/fuse/dev_uring.c).
#[inline(always)]
pub fn completed(kiocb: *const u8) -> Option<RequestId> {
    if !is_command(kiocb)? {
        return None;
    }
    let entry: u64 = read(kiocb as u64, OFFSET_IO_URING_CMD_PDU.get())?;
    read(entry, OFFSET_FUSE_RING_ENT_FUSE_REQ.get())
}

/// The number of the request that `kiocb` commits the answer of, if it does.
#[inline(always)]
pub fn committed(kiocb: *const u8) -> Option<u64> {
    if !is_command(kiocb)? {
        return None;
    }
    let sqe: u64 = read(kiocb as u64, OFFSET_IO_URING_CMD_SQE.get())?;
    let command: u32 = read(sqe, SQE_CMD_OP)?;
    if command != COMMIT_AND_FETCH {
        return None;
    }
    read(sqe, SQE_CMD + COMMIT_ID)
}

#[inline(always)]
fn is_command(kiocb: *const u8) -> Option<bool> {
    let opcode: u8 = read(kiocb as u64, OFFSET_IO_KIOCB_OPCODE.get())?;
    Some(opcode == OP_URING_CMD)
}

/// A value `offset` bytes into the kernel's memory at `base`; none if there is no memory.
#[inline(always)]
pub fn read<T>(base: u64, offset: usize) -> Option<T> {
    let address = base.wrapping_add(offset as u64) as *const T;
    // SAFETY: the helper checks the address; `T` is an integer here, of which any bytes are one.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}
