//! More fields of a request than those that are counted by.
#![expect(
    unsafe_code,
    reason = "loads from the kernel's memory, which the verifier checks"
)]

use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::request::{FieldOffset, Request, RequestId};

#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_UNIQUE: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_NODEID: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_UID: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_GID: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_PID: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_LEN: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_OUT_LEN: FieldOffset = FieldOffset::UNSET;

/// The header fields of a request (`struct fuse_in_header`, `struct fuse_out_header`).
pub struct Fields(*const u8);

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $offset:ident;)*) => {
        impl Fields {
            $(
                $(#[$doc])*
                #[inline(always)]
                pub fn $name(&self) -> $type {
                    // SAFETY: the address is a `struct fuse_req`'s, and the kernel's own BTF says that
                    // there is such a field; the verifier refuses the program otherwise.
                    unsafe { $offset.load(self.0) }
                }
            )*
        }
    };
}

fields! {
    /// The number; set when the request is queued.
    unique: u64 = OFFSET_FUSE_REQ_IN_UNIQUE;
    /// The inode.
    nodeid: u64 = OFFSET_FUSE_REQ_IN_NODEID;
    /// The caller's file-system user.
    uid: u32 = OFFSET_FUSE_REQ_IN_UID;
    /// The caller's file-system group.
    gid: u32 = OFFSET_FUSE_REQ_IN_GID;
    /// The calling task.
    pid: u32 = OFFSET_FUSE_REQ_IN_PID;
    /// Bytes of the request.
    in_len: u32 = OFFSET_FUSE_REQ_IN_LEN;
    /// Bytes of the answer.
    out_len: u32 = OFFSET_FUSE_REQ_OUT_LEN;
}

impl Fields {
    /// Those of a request.
    #[inline(always)]
    pub fn of(request: &Request) -> Self {
        Self(request.address())
    }
}

/// The number of a request of which the address alone is known.
#[inline(always)]
pub fn unique_of(id: RequestId) -> Option<u64> {
    let address = id.wrapping_add(OFFSET_FUSE_REQ_IN_UNIQUE.get() as u64) as *const u64;
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}
