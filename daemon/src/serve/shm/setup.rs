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
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};
use transport::layout::{CQ_ENTRIES, SQ_ENTRIES};

// include/uapi/linux/io_uring.h
const SETUP_SQPOLL: u32 = 1 << 1;
const SETUP_SQ_AFF: u32 = 1 << 2;
const SETUP_ATTACH_WQ: u32 = 1 << 5;
const SETUP_SQE128: u32 = 1 << 10;
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
const SETUP_NO_MMAP: u32 = 1 << 14;
const SETUP_NO_SQARRAY: u32 = 1 << 16;
/// `IORING_REGISTER_FILES`.
const REGISTER_FILES: libc::c_long = 2;
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_SQ_WAKEUP: u32 = 1 << 1;
const ENTER_SQ_WAIT: u32 = 1 << 2;
const ENTER_EXT_ARG: u32 = 1 << 3;

/// `struct io_uring_getevents_arg` (include/uapi/linux/io_uring.h).
#[repr(C)]
struct WaitArg {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_us: u32,
    /// The address of a `struct __kernel_timespec`, which is `timespec` where that has 64 bits a field.
    time: u64,
}

/// How long a wait lasts in which nothing has come, in seconds. The kernel adds the head of the CQ to what it waits for
/// (`io_cqring_wait`, io_uring/io_uring.c): a head that somebody has moved would make it wait for good.
const WAIT_SECONDS: i64 = 1;

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

/// The kernel thread that submits what lies in a ring's SQ, and runs its task work.
#[derive(Clone, Copy, Debug)]
pub enum Poller<'a> {
    /// One of the ring's own.
    Own {
        /// The CPU that it stays on.
        cpu: Option<u32>,
        /// How long it polls in vain before it sleeps, in milliseconds; not 0, which the kernel
        /// takes for a second.
        idle_ms: u32,
    },
    /// That of another ring of this process.
    Of {
        /// The other ring.
        ring: &'a Uring,
        /// As of the other: the thread goes by the longest of its rings.
        idle_ms: u32,
    },
}

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
        let mut params = Params::zeroed();
        params.flags = SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
        // SAFETY: the caller's promise.
        unsafe { Self::new(params, sqes, words) }.map_err(setup_error)?
    }

    /// A ring whose SQ a kernel thread polls. The thread is called `iou-sqp-` and the id of the thread
    /// that made its ring (`io_sq_thread`, io_uring/sqpoll.c).
    ///
    /// # Errors
    ///
    /// As [`for_one_thread`](Self::for_one_thread).
    ///
    /// # Safety
    ///
    /// As [`for_one_thread`](Self::for_one_thread).
    pub unsafe fn polled(sqes: u64, words: u64, poller: Poller<'_>) -> Result<Self> {
        let mut params = Params::zeroed();
        params.flags = SETUP_SQPOLL;
        match poller {
            Poller::Own { cpu, idle_ms } => {
                params.sq_thread_idle = idle_ms;
                if let Some(cpu) = cpu {
                    params.flags |= SETUP_SQ_AFF;
                    params.sq_thread_cpu = cpu;
                }
            }
            Poller::Of { ring, idle_ms } => {
                params.sq_thread_idle = idle_ms;
                params.flags |= SETUP_ATTACH_WQ;
                params.wq_fd = ring.0.as_raw_fd() as u32;
            }
        }
        // SAFETY: the caller's promise.
        let made = unsafe { Self::new(params, sqes, words) };
        match (made, poller) {
            (
                Err(error),
                Poller::Own {
                    cpu: Some(cpu),
                    idle_ms,
                },
            ) if error.raw_os_error() == Some(libc::EINVAL) => {
                // A CPU that is offline, or not allowed to this process (`io_sq_offload_create`).
                tracing::debug!(cpu, "the poll thread of a queue is not pinned");
                let anywhere = Poller::Own { cpu: None, idle_ms };
                // SAFETY: the caller's promise; the refused ring has left the memory alone.
                unsafe { Self::polled(sqes, words, anywhere) }
            }
            (made, _) => made.map_err(setup_error)?,
        }
    }

    /// # Safety
    ///
    /// As [`for_one_thread`](Self::for_one_thread).
    unsafe fn new(mut params: Params, sqes: u64, words: u64) -> io::Result<Result<Self>> {
        params.flags |= SETUP_SQE128 | SETUP_NO_MMAP | SETUP_NO_SQARRAY;
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
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that the kernel has just made for us.
        let ring = Self(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        Ok(check_layout(&params).map(|()| ring))
    }

    /// Makes `device`, `/dev/fuse`, the first of the ring's files, as which every command names it
    /// (protocol 5.1): no reference is counted for each. To be called once.
    ///
    /// # Errors
    ///
    /// What io_uring_register(2) says.
    pub fn register_device(&self, device: BorrowedFd<'_>) -> Result<()> {
        let files = [device.as_raw_fd()];
        // SAFETY: the kernel reads the array, of the length that is given, during the call.
        let outcome = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                libc::c_long::from(self.0.as_raw_fd()),
                REGISTER_FILES,
                files.as_ptr(),
                files.len() as libc::c_long,
            )
        };
        match outcome {
            0 => Ok(()),
            _ => Err(Error::system(
                "cannot register /dev/fuse with an io_uring",
                io::Error::last_os_error(),
            )),
        }
    }

    /// Submits `to_submit` SQEs and waits until `min_complete` completions stand, or for [a while](WAIT_SECONDS);
    /// returns how many SQEs were taken.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says.
    pub fn enter(&self, to_submit: u32, min_complete: u32) -> io::Result<u32> {
        if min_complete == 0 {
            return self.enter_with(to_submit, 0, 0, None);
        }
        let while_nothing_comes = libc::timespec {
            tv_sec: WAIT_SECONDS,
            tv_nsec: 0,
        };
        let time = Some(while_nothing_comes);
        match self.enter_with(to_submit, min_complete, ENTER_GETEVENTS, time) {
            // Said only if no SQE was taken.
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(0),
            taken => taken,
        }
    }

    /// Wakes the poll thread of the ring.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says.
    pub fn wake_poller(&self) -> io::Result<()> {
        self.enter_with(0, 0, ENTER_SQ_WAKEUP, None).map(drop)
    }

    /// Asks whether the ring and its poll thread are still there.
    ///
    /// # Errors
    ///
    /// `EOWNERDEAD`: the thread has ended. `EOPNOTSUPP`, `EBADF`: the ring is closed.
    pub fn check_poller(&self) -> io::Result<()> {
        self.enter_with(0, 0, 0, None).map(drop)
    }

    /// Wakes the poll thread, and waits until there is room in the SQ.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says.
    pub fn wait_for_room(&self) -> io::Result<()> {
        self.enter_with(0, 0, ENTER_SQ_WAKEUP | ENTER_SQ_WAIT, None)
            .map(drop)
    }

    /// io_uring_enter(2), in which a wait lasts `time` at most, if that is given.
    fn enter_with(
        &self,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        time: Option<libc::timespec>,
    ) -> io::Result<u32> {
        let wait = time.as_ref().map(|time| WaitArg {
            sigmask: 0,
            sigmask_size: 0,
            min_wait_us: 0,
            time: ptr::from_ref(time).addr() as u64,
        });
        let (flags, argument, len) = match &wait {
            Some(wait) => (
                flags | ENTER_EXT_ARG,
                ptr::from_ref(wait),
                size_of::<WaitArg>(),
            ),
            None => (flags, ptr::null(), 0),
        };
        // SAFETY: the call reads no memory of ours but the ring's, which stays mapped by the promise
        // at the ring's creation, and the argument with the time it names, which live until it has returned.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                libc::c_long::from(self.0.as_raw_fd()),
                libc::c_long::from(to_submit),
                libc::c_long::from(min_complete),
                libc::c_long::from(flags),
                argument,
                len,
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
