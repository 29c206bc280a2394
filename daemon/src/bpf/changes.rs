//! What others change on the lower file system, as the kernel programs report it
//! (`transport::changes`, ebpf/src/changes.rs).
#![expect(
    unsafe_code,
    reason = "types whose contents are atomics may lie in maps"
)]

use super::{
    load::{array_data, take_map, unsupported},
    mapping::MapElement,
    words::{SharedArray, SharedElement},
};
use crate::error::{Error, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, MapData, RingBuf},
};
use std::{
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::Arc,
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
// SAFETY: as above, 8 bytes each.
unsafe impl SharedElement for ChangeCounters {}

/// An element as aya writes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct LowerElement(Lower);

// SAFETY: two u32 without padding.
unsafe impl Pod for LowerElement {}

/// The reports of one mount's programs: interest in inodes, the ring, the counters.
pub struct Changes {
    interest: Arc<SharedArray<InterestWord>>,
    counters: Arc<SharedArray<ChangeCounters>>,
    lower: Lower,
    watched: Array<MapData, LowerElement>,
    ring: RingBuf<MapData>,
}

impl Changes {
    /// Names the lower file system to the programs of `ebpf`, which notice nothing before.
    pub(super) fn of(ebpf: &mut Ebpf, lower: Lower) -> Result<Self> {
        let interest = Arc::new(SharedArray::new(array_data(ebpf, "INTEREST"))?);
        // The map's descriptor stays with the object: by it `shmfuse stat` finds the counters.
        let counters = Arc::new(SharedArray::new(array_data(ebpf, "CHANGE_COUNTERS"))?);
        let ring = RingBuf::try_from(take_map(ebpf, "CHANGES"))
            .map_err(|error| refused("cannot map the ring of changes", error))?;
        let mut watched: Array<_, LowerElement> = Array::try_from(take_map(ebpf, "LOWER"))
            .map_err(|error| unsupported(error.to_string(), "this is a bug"))?;
        watched
            .set(0, LowerElement(lower), 0)
            .map_err(|error| refused("cannot name the lower file system to the programs", error))?;
        Ok(Self {
            lower,
            watched,
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
    pub fn counters(&self) -> Arc<SharedArray<ChangeCounters>> {
        Arc::clone(&self.counters)
    }

    /// The next report: an index of words.
    pub fn next_report(&mut self) -> Option<u32> {
        let item = self.ring.next()?;
        let report = Report::from_ne_bytes((*item).try_into().ok()?);
        u32::try_from(report).ok()
    }

    /// From now on, what this process changes is not reported.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refuses the update of its map, for which no reason is known.
    pub fn leave_out_own(&mut self) -> Result<()> {
        let own = Lower {
            process: std::process::id(),
            ..self.lower
        };
        self.watched
            .set(0, LowerElement(own), 0)
            .map_err(|error| refused("cannot leave out own changes", error))
    }

    /// Readable when there is a report.
    pub fn fd(&self) -> BorrowedFd<'_> {
        let ring = self.ring.as_raw_fd();
        // SAFETY: the ring's descriptor lives as long as `self`, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(ring) }
    }
}

fn refused(what: &'static str, error: aya::maps::MapError) -> Error {
    Error::system(what, io::Error::other(error))
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("ring", &self.ring.as_raw_fd())
            .finish_non_exhaustive()
    }
}
