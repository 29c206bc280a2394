//! An io_uring in memory of ours: io_uring_setup(2) and io_uring_enter(2) as they are.
//!
//! The io-uring crate maps the kernel's memory; a ring in given memory (`IORING_SETUP_NO_MMAP`,
//! Linux 6.5) it does not know.
#![expect(
    unsafe_code,
    reason = "io_uring_setup(2) and io_uring_enter(2) have no safe wrapper"
)]

use crate::{
    error::{Error, Result},
    serve::uring::probe::setup_error,
};
use bytemuck::{Pod, Zeroable};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};
use transport::layout::{CQ_ENTRIES, SQ_ENTRIES};

// include/uapi/linux/io_uring.h
const SETUP_SQE128: u32 = 1 << 10;
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
const SETUP_NO_MMAP: u32 = 1 << 14;
const SETUP_NO_SQARRAY: u32 = 1 << 16;
const ENTER_GETEVENTS: u32 = 1 << 0;

/// `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct SqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    resv1: u32,
    user_addr: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct CqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    resv1: u32,
    user_addr: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq_off: SqOffsets,
    cq_off: CqOffsets,
}

const _: () = assert!(size_of::<Params>() == 120);

/// An io_uring whose SQEs and words lie in given memory.
#[derive(Debug)]
pub struct Uring(OwnedFd);

impl Uring {
    /// A ring for one thread, the calling one, which alone submits and reaps: task work runs when
    /// it asks for completions.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says, with the remedy; [`Error::Unsupported`] if this kernel lays a ring
    /// out in another way than `transport::layout` does.
    ///
    /// # Safety
    ///
    /// `sqes` and `words` are the page-aligned addresses of the two parts of a zeroed
    /// `transport::layout::Ring` that stays mapped until the ring is closed.
    pub unsafe fn for_one_thread(sqes: u64, words: u64) -> Result<Self> {
        let flags = SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
        // SAFETY: the caller's promise.
        unsafe { Self::new(flags, sqes, words) }
    }

    /// # Safety
    ///
    /// As [`for_one_thread`](Self::for_one_thread).
    unsafe fn new(flags: u32, sqes: u64, words: u64) -> Result<Self> {
        let mut params = Params::zeroed();
        params.flags = flags | SETUP_SQE128 | SETUP_NO_MMAP | SETUP_NO_SQARRAY;
        params.sq_off.user_addr = sqes;
        params.cq_off.user_addr = words;
        // SAFETY: `params` is what the system call reads and writes; the kernel pins the memory by
        // the caller's promise.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_io_uring_setup,
                SQ_ENTRIES as libc::c_long,
                &raw mut params,
            )
        };
        if fd < 0 {
            return Err(setup_error(io::Error::last_os_error()));
        }
        // SAFETY: a descriptor that the kernel has just made for us.
        let ring = Self(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        check_layout(&params)?;
        Ok(ring)
    }

    /// Submits `to_submit` SQEs and waits until `min_complete` completions stand; returns how many
    /// SQEs were taken.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says.
    pub fn enter(&self, to_submit: u32, min_complete: u32) -> io::Result<u32> {
        let flags = if min_complete > 0 { ENTER_GETEVENTS } else { 0 };
        // SAFETY: the call reads no memory of ours but the ring's, which stays mapped by the promise
        // at the ring's creation.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                libc::c_long::from(self.0.as_raw_fd()),
                libc::c_long::from(to_submit),
                libc::c_long::from(min_complete),
                libc::c_long::from(flags),
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        u32::try_from(taken).map_err(|_| io::Error::last_os_error())
    }
}

/// The words have to lie where the programs look for them (protocol 1).
fn check_layout(params: &Params) -> Result<()> {
    let (sq, cq) = (&params.sq_off, &params.cq_off);
    let found = [sq.head, sq.tail, cq.head, cq.tail, sq.flags, cq.cqes];
    let sizes = [params.sq_entries as usize, params.cq_entries as usize];
    if found == [0, 4, 8, 12, 36, 64] && sizes == [SQ_ENTRIES, CQ_ENTRIES] {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("this kernel lays an io_uring out in another way: {found:?}, {sizes:?}"),
        remedy: "use '--transport uring'".into(),
    })
}
