//! The ring that a queue's commands travel through.
//!
//! [`Ring`] is what the worker needs of one; [`PrivateRing`] is an ordinary io_uring, its memory the
//! kernel's.
#![expect(
    unsafe_code,
    reason = "commands carry addresses; completions are what makes an entry ours"
)]

use super::{
    anchor::{ANCHOR, Anchor},
    bell::{Bell, EventBell},
    entry::{Arrived, Commit, EntryIndex, Lost, QueueId},
    probe,
};
use crate::error::{Error, Result};
use io_uring::{IoUring, cqueue, opcode, squeue::Entry128, types};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
};
use transport::{
    rules::Ruling,
    wire::{Opcode, UringCmd, UringCmdReq},
};

/// What a ring tells its worker.
#[derive(Debug)]
pub enum Event {
    /// A request lies in an entry.
    Arrived(Arrived),
    /// The kernel has given an entry up.
    Lost(Lost),
    /// The bell has rung.
    Woken {
        /// The ring listens to it no longer.
        last: bool,
    },
}

/// The ring of one queue: one thread uses it, the one that made it.
pub trait Ring {
    /// Whether the thread that commits is the one in which the kernel wakes the application: then it
    /// matters how that thread is scheduled ([`Pace`](super::pace::Pace)).
    const WAKES_APPLICATIONS: bool;

    /// What wakes the thread that waits in this ring.
    fn bell(&self) -> Arc<dyn Bell>;

    /// Gives an entry to the kernel; `buffers` are its header's and its payload's.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says, if commands had to be submitted to make room.
    ///
    /// # Safety
    ///
    /// The buffers live, and nobody refers to them, until the entry has [`Arrived`] or is
    /// [`Lost`]; likewise after each commit of the entry.
    unsafe fn register(&mut self, entry: EntryIndex, buffers: [libc::iovec; 2]) -> io::Result<()>;

    /// Answers a request and gives its entry back to the kernel.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says, if commands had to be submitted to make room.
    fn commit(&mut self, commit: Commit) -> io::Result<()>;

    /// Listens to the bell: [`Event::Woken`] each time it has rung, until one says `last`.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says, if commands had to be submitted to make room.
    fn listen(&mut self) -> io::Result<()>;

    /// Submits what has been given since, without waiting.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says.
    fn submit(&mut self) -> io::Result<()>;

    /// Submits what has been given since and waits for an event, in one system call.
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says.
    fn submit_and_wait(&mut self) -> io::Result<()>;

    /// Appends the events there are, oldest first.
    fn take_events(&mut self, events: &mut Vec<Event>);

    /// What a kernel program ruled on the request that has arrived in this entry; undecided if none
    /// has seen it.
    fn ruling(&self, entry: EntryIndex) -> Ruling {
        let _ = entry;
        Ruling::Undecided
    }

    /// So many requests of this opcode were executed together; for rings that keep accounts.
    fn count_merge(&self, opcode: Opcode, width: usize) {
        let _ = (opcode, width);
    }
}

/// `user_data` of the bell; an entry's is its index.
const WATCH: u64 = u64::MAX;
/// Where `len` lies in an SQE (`struct io_uring_sqe`, include/uapi/linux/io_uring.h), in bytes.
const SQE_LEN_OFFSET: usize = 24;
/// `/dev/fuse` among the ring's registered files: no reference to be counted for each command.
const DEVICE: types::Fixed = types::Fixed(0);

/// An io_uring of the kernel's own memory.
pub struct PrivateRing {
    uring: IoUring<Entry128, cqueue::Entry>,
    queue: QueueId,
    bell: Arc<EventBell>,
    anchor: Anchor,
    /// What REGISTER commands point to. The kernel reads them when it issues the command, which
    /// may be later than the submission.
    #[expect(clippy::vec_box, reason = "their addresses must not change")]
    buffers: Vec<Box<[libc::iovec; 2]>>,
}

impl PrivateRing {
    /// A ring for a queue of `depth` entries on the connection of `device`. Only the calling
    /// thread may use it.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says, with the remedy.
    pub fn new(queue: QueueId, device: BorrowedFd<'_>, depth: usize) -> Result<Self> {
        let entries = (depth as u32 + 2).next_power_of_two().max(8);
        let uring = probe::ring_builder()
            // An entry has one completion at a time. Twice as many leave room for growth; beyond
            // that the kernel keeps them (IORING_FEAT_NODROP).
            .setup_cqsize(entries * 2)
            .build(entries)
            .map_err(probe::setup_error)?;
        uring
            .submitter()
            .register_files(&[device.as_raw_fd()])
            .map_err(|source| {
                Error::system("cannot register /dev/fuse with an io_uring", source)
            })?;
        let mut ring = Self {
            uring,
            queue,
            bell: Arc::new(EventBell::new()?),
            anchor: Anchor::new()?,
            buffers: Vec::with_capacity(depth),
        };
        let poll = opcode::PollAdd::new(types::Fd(ring.anchor.fd()), libc::POLLIN as u32).build();
        // SAFETY: the command points to nothing.
        unsafe { ring.push(&Entry128::from(poll.user_data(ANCHOR))) }
            .map_err(|source| Error::system("cannot give an io_uring a command", source))?;
        Ok(ring)
    }

    /// # Safety
    ///
    /// What the command points to lives until it is completed.
    unsafe fn push(&mut self, command: &Entry128) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: the caller's promise.
        unsafe { self.uring.submission().push(command) }
            .map_err(|_| io::Error::other("the submission queue stays full"))
    }

    /// A command of the queue. `commit_id` is 0 in a REGISTER.
    fn command(&self, command: UringCmd, commit_id: u64) -> opcode::UringCmd80 {
        let request = UringCmdReq {
            commit_id,
            qid: self.queue.0,
            ..UringCmdReq::default()
        };
        let mut bytes = [0; 80];
        bytes[..size_of::<UringCmdReq>()].copy_from_slice(bytemuck::bytes_of(&request));
        opcode::UringCmd80::new(DEVICE, command.0).cmd(bytes)
    }
}

impl Ring for PrivateRing {
    const WAKES_APPLICATIONS: bool = true;

    fn bell(&self) -> Arc<dyn Bell> {
        Arc::clone(&self.bell) as Arc<dyn Bell>
    }

    unsafe fn register(&mut self, entry: EntryIndex, buffers: [libc::iovec; 2]) -> io::Result<()> {
        let buffers = Box::new(buffers);
        let address = std::ptr::from_ref(&*buffers) as u64;
        self.buffers.push(buffers);
        let mut command = self
            .command(UringCmd::REGISTER, 0)
            .addr(Some(address))
            .build()
            .user_data(u64::from(entry.0));
        // SAFETY: an Entry128 is the kernel's SQE of 128 bytes, so `len`, four bytes of it, lies
        // inside and is aligned. (The crate has no setter: of the commands it knows none has one.)
        unsafe {
            std::ptr::from_mut(&mut command)
                .byte_add(SQE_LEN_OFFSET)
                .cast::<u32>()
                .write(2);
        }
        // SAFETY: the array lives as long as the ring, the buffers by the caller's promise.
        unsafe { self.push(&command) }
    }

    fn commit(&mut self, commit: Commit) -> io::Result<()> {
        let (entry, commit_id) = commit.into_parts();
        let command = self
            .command(UringCmd::COMMIT_AND_FETCH, commit_id)
            .build()
            .user_data(u64::from(entry.0));
        // SAFETY: the command points to nothing; the entry's buffers live by the promise made at
        // its registration.
        unsafe { self.push(&command) }
    }

    fn listen(&mut self) -> io::Result<()> {
        let bell = types::Fd(self.bell.as_fd().as_raw_fd());
        let poll = opcode::PollAdd::new(bell, libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(WATCH);
        // SAFETY: the command points to nothing.
        unsafe { self.push(&Entry128::from(poll)) }
    }

    fn submit(&mut self) -> io::Result<()> {
        self.uring.submit().map(drop)
    }

    fn submit_and_wait(&mut self) -> io::Result<()> {
        self.uring.submit_and_wait(1).map(drop)
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        events.extend(self.uring.completion().filter_map(|completion| {
            let entry = EntryIndex(completion.user_data() as u32);
            let event = match completion.result() {
                result if completion.user_data() == ANCHOR => {
                    Anchor::lost(result);
                    return None;
                }
                _ if completion.user_data() == WATCH => Event::Woken {
                    last: !cqueue::more(completion.flags()),
                },
                // SAFETY: this is the one completion of the entry's latest command, and it
                // succeeded: the kernel has put a request into it and moved it to its list of
                // entries in user space (fuse_uring_send, fs/fuse/dev_uring.c).
                0 => Event::Arrived(unsafe { Arrived::new(entry) }),
                // SAFETY: a command that failed is not held by the kernel, and only a command is a
                // way to the entry's memory.
                result => Event::Lost(unsafe { Lost::new(entry, -result) }),
            };
            Some(event)
        }));
    }
}
