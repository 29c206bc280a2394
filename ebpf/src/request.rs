//! The kernel's `struct fuse_req`, as far as we read it.
//!
//! The tracepoints hand over a pointer whose type the verifier knows from the kernel's BTF. It checks
//! each load from it against that type, field by field, and a load from an address that is not
//! there yields 0 instead of a fault. Where the fields lie differs from kernel to kernel: the daemon
//! looks them up in the running kernel's BTF and sets the constants below before it loads the
//! programs (`daemon/src/bpf/offsets.rs`).
#![expect(
    unsafe_code,
    reason = "loads from the kernel's memory, which the verifier checks"
)]

use core::ptr;

use aya_ebpf::{macros::map, maps::Array, programs::BtfTracePointContext};
use transport::wire::Opcode;

/// The device number of the mount whose requests are meant, in the kernel's form (`major << 20 |
/// minor`); 0 as long as there is none. Set by user space.
#[map]
static MOUNT: Array<u32> = Array::with_max_entries(1, 0);

/// An offset in bytes that user space sets before it loads the program.
#[repr(transparent)]
pub struct FieldOffset(u32);

impl FieldOffset {
    /// Before user space sets it.
    pub const UNSET: Self = Self(0);

    /// Loads a `T` that lies at this offset of the kernel structure at `base`.
    ///
    /// # Safety
    ///
    /// As [`load`].
    #[inline(always)]
    pub unsafe fn load<T: Copy>(&self, base: *const u8) -> T {
        // SAFETY: by the caller's promise
        unsafe { load(base, self) }
    }

    /// The value set at load time; the verifier takes it for a constant.
    #[inline(always)]
    pub fn get(&self) -> usize {
        // SAFETY: the pointer is made from a reference. Volatile, for the compiler must not take the
        // value in this source for the one at load time.
        unsafe { ptr::read_volatile(&raw const self.0) as usize }
    }
}

#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_FM: FieldOffset = FieldOffset(0);
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_IN_OPCODE: FieldOffset = FieldOffset(0);
#[unsafe(no_mangle)]
static OFFSET_FUSE_REQ_OUT_ERROR: FieldOffset = FieldOffset(0);
#[unsafe(no_mangle)]
static OFFSET_FUSE_MOUNT_FC: FieldOffset = FieldOffset(0);
#[unsafe(no_mangle)]
static OFFSET_FUSE_CONN_DEV: FieldOffset = FieldOffset(0);

/// A request while it is under way: the address of its `struct fuse_req`. Another request has the
/// same one later.
#[allow(dead_code, reason = "the programs that count do without")]
pub type RequestId = u64;

/// A request of our mount, as a program sees it during one call.
pub struct Request {
    address: *const u8,
    /// Where the mount's number lies, which is the same place in all programs of the mount.
    mount: *const u32,
}

impl Request {
    /// The request that the tracepoint is about, if it is one of our mount.
    #[inline(always)]
    pub fn of_our_mount(ctx: &BtfTracePointContext) -> Option<Self> {
        let mount = MOUNT.get(0)?;
        let ours = *mount;
        let req = ctx.arg::<*const u8>(0);
        // SAFETY: each pointer is of the type that has the field, by the kernel's own BTF, from which
        // the offsets are; the verifier refuses the program otherwise.
        let dev = unsafe {
            let of = load::<*const u8>(req, &OFFSET_FUSE_REQ_FM);
            let connection = load::<*const u8>(of, &OFFSET_FUSE_MOUNT_FC);
            load::<u32>(connection, &OFFSET_FUSE_CONN_DEV)
        };
        (dev == ours && dev != 0).then_some(Self {
            address: req,
            mount,
        })
    }

    /// What tells it from every other that is under way.
    #[allow(dead_code, reason = "the programs that count do without")]
    #[inline(always)]
    pub fn id(&self) -> RequestId {
        self.address.addr() as RequestId
    }

    /// The same as a number that can be reckoned with: the verifier lets nobody do so with an address, but for
    /// the distance of two. Each program of the mount finds the same.
    #[allow(dead_code, reason = "the tracing programs have a map of the kernel's")]
    #[inline(always)]
    pub fn number(&self) -> u64 {
        (self.address.addr() as u64).wrapping_sub(self.mount.addr() as u64)
    }

    /// Where its `struct fuse_req` lies.
    #[allow(dead_code, reason = "the tracing programs read more of it")]
    #[inline(always)]
    pub fn address(&self) -> *const u8 {
        self.address
    }

    /// What it asks for.
    #[inline(always)]
    pub fn opcode(&self) -> Opcode {
        // SAFETY: as in `of_our_mount`
        Opcode(unsafe { load(self.address, &OFFSET_FUSE_REQ_IN_OPCODE) })
    }

    /// 0 or a negative errno; says something once the request has ended.
    #[inline(always)]
    pub fn error(&self) -> i32 {
        // SAFETY: as in `of_our_mount`
        unsafe { load(self.address, &OFFSET_FUSE_REQ_OUT_ERROR) }
    }
}

/// Loads a `T` that lies `offset` into the kernel structure at `base`.
///
/// # Safety
///
/// The verifier must know a BTF type for `base`, and that type must have a `T` at `offset`.
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: &FieldOffset) -> T {
    // SAFETY: by the caller's promise
    unsafe { *base.add(offset.get()).cast::<T>() }
}
