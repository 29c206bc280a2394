//! What others change on the lower file system, as the kernel programs report it
//! (`transport::changes`, ebpf/src/changes.rs).
#![expect(
    unsafe_code,
    reason = "types whose contents are atomics may lie in maps"
)]

use super::{
    load::{array_data, take_map, unsupported},
    mapping::{MapElement, MappedArray},
    words::{SharedArray, SharedElement},
};
use crate::error::{Error, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, RingBuf},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};
use transport::{
    changes::{ChangeCounters, Lower, Report},
    sync::InterestWord,
};

/// Bytes of the ring of reports, 16 of which a report takes: a power of two, and of whole pages.
pub const RING_BYTES: u32 = 256 << 10;

/// The programs, those first without which nothing ends what others begin.
pub(super) const PROGRAMS: [&str; 5] = [
    "sched_process_exit",
    "sys_exit",
    "ext4_da_reserve_space",
    "ext4_journal_start_inode",
    "ext4_mark_inode_dirty",
];

// SAFETY: one atomic of 8 bytes.
unsafe impl SharedElement for InterestWord {}
// SAFETY: `Tally`s only, which are atomics.
unsafe impl MapElement for ChangeCounters {}

/// An element as aya writes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct LowerElement(Lower);

// SAFETY: two u32 without padding.
unsafe impl Pod for LowerElement {}

/// The reports of one mount's programs: interest in inodes, the ring, the counters.
pub struct Changes {
    interest: Arc<SharedArray<InterestWord>>,
    counters: Arc<MappedArray<ChangeCounters>>,
    ring: RingBuf<aya::maps::MapData>,
}

impl Changes {
    /// Names the lower file system to the programs of `ebpf`, which notice nothing before.
    pub(super) fn of(ebpf: &mut Ebpf, lower: Lower) -> Result<Self> {
        let refused = |what: &'static str, error: aya::maps::MapError| {
            Error::system(what, io::Error::other(error))
        };
        let interest = Arc::new(SharedArray::new(array_data(ebpf, "INTEREST"))?);
        // The map's descriptor stays with the object: by it `shmfuse stat` finds the counters.
        let counters = Arc::new(MappedArray::new(array_data(ebpf, "CHANGE_COUNTERS"))?);
        let ring = RingBuf::try_from(take_map(ebpf, "CHANGES"))
            .map_err(|error| refused("cannot map the ring of changes", error))?;
        let mut watched: Array<_, LowerElement> = Array::try_from(take_map(ebpf, "LOWER"))
            .map_err(|error| unsupported(error.to_string(), "this is a bug"))?;
        watched
            .set(0, LowerElement(lower), 0)
            .map_err(|error| refused("cannot name the lower file system to the programs", error))?;
        Ok(Self {
            interest,
            counters,
            ring,
        })
    }

    /// The interest words, for who gives away what is to be revoked.
    pub fn interest(&self) -> Arc<SharedArray<InterestWord>> {
        Arc::clone(&self.interest)
    }

    /// What the programs count.
    pub fn counters(&self) -> Arc<MappedArray<ChangeCounters>> {
        Arc::clone(&self.counters)
    }

    /// The next report: an index of words.
    pub fn next_report(&mut self) -> Option<u32> {
        let item = self.ring.next()?;
        let report = Report::from_ne_bytes((*item).try_into().ok()?);
        u32::try_from(report).ok()
    }

    /// Waits until there may be a report, `also` is readable, or `time` has passed.
    ///
    /// # Errors
    ///
    /// What poll(2) says; `EINTR` is none.
    pub fn wait(&self, also: &[BorrowedFd<'_>], time: Duration) -> io::Result<()> {
        let ring = self.ring.as_raw_fd();
        // SAFETY: the ring's descriptor lives as long as `self`.
        let ring = unsafe { BorrowedFd::borrow_raw(ring) };
        let mut fds = vec![PollFd::from_borrowed_fd(ring, PollFlags::IN)];
        fds.extend(
            also.iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
        );
        let time = Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("ring", &self.ring.as_raw_fd())
            .finish_non_exhaustive()
    }
}
