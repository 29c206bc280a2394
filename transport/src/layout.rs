//! What lies in the maps, byte by byte (protocol 1).
//!
//! Everything is `repr(C)` and consists of shared words, so any bytes are a valid value, and zeroed
//! memory is a queue at rest. Sizes are constants: the verifier then knows that a masked index
//! stays inside its element.
//!
//! ```text
//!  Slot, 512 bytes                        Lane, 2176 bytes               Ring, 45056 bytes
//!  +-----+-----------------------------+  +------+---------------------+ +-------+--------------------+
//!  |   0 | in_out: request, then reply |  |    0 | tail (program)      | |     0 | 256 SQEs           |
//!  | 128 | op_in: request's fixed part |  |   64 | head (daemon)       | | 32768 | io_uring's words   |
//!  | 256 | flags, commit id, length    |  |  128 | 128 entries:        | | 32832 | 512 CQEs           |
//!  | 288 | slot word                   |  |      |   unique,           | | 41024 | unused to the page |
//!  | 296 | commit position, notes      |  |      |   slot queue opcode | +-------+--------------------+
//!  +-----+-----------------------------+  +------+---------------------+
//! ```

use crate::sync::{
    CqHead, CqTail, LaneHead, LaneTail, ParkWord, SessionWord, SlotWord, SqFlags, SqHead, SqTail,
    Word, Word32,
};
use core::array::from_fn;

pub use crate::counters::{CacheCounters, DaemonCounters, ProgramCounters, QueueCounters};

/// The sizes in the models: small enough to be filled and to wrap.
const SMALL: bool = cfg!(shmfuse_loom);
/// Slots per queue, at most. An option chooses how many there are.
pub const MAX_DEPTH: usize = if SMALL { 2 } else { 128 };
/// Entries of a lane: one per slot, so that it is never full (protocol 4.4).
pub const LANE_ENTRIES: usize = if SMALL { 2 } else { 128 };
/// SQEs of a ring: a commit per slot, and as many again for wakes (protocol 5.4).
pub const SQ_ENTRIES: usize = if SMALL { 4 } else { 256 };
/// CQEs of a ring: more than two per slot (protocol 6.6); twice the SQEs is io_uring's default.
pub const CQ_ENTRIES: usize = if SMALL { 4 } else { 512 };

/// Lanes per queue.
pub const LANES_PER_QUEUE: usize = 2;
/// Generation words of a mount that inodes have.
pub const GENERATIONS: usize = 1 << 16;
/// Generation words of a mount: the last counts changes without an end (protocol 8.2).
pub const GENERATION_WORDS: usize = GENERATIONS + 1;

/// Words in a slot's header: `struct fuse_uring_req_header`, 288 bytes.
pub const HEADER_WORDS: usize = 36;
/// Words of `in_out` and of `op_in`.
pub const IN_OUT_WORDS: usize = 16;
/// Words of `op_in`.
pub const URING_WORDS_OF_OP_IN: usize = 16;
const ENT_WORD: usize = 32;

/// A value made of shared words, all zero: for memory that is not mapped.
pub trait Blank {
    /// The value.
    fn blank() -> Self;
}

impl<T: Default, const N: usize> Blank for [T; N] {
    fn blank() -> Self {
        from_fn(|_| T::default())
    }
}

/// Header buffer of a ring entry, as words.
#[repr(C)]
#[derive(Debug)]
pub struct Header(pub(crate) [Word; HEADER_WORDS]);

impl Header {
    /// Words of [`InHeader`](crate::wire::InHeader) or [`OutHeader`](crate::wire::OutHeader).
    #[inline(always)]
    pub fn in_out(&self) -> &[Word] {
        &self.0[..IN_OUT_WORDS]
    }

    /// Words of the request's fixed part.
    #[inline(always)]
    pub fn op_in(&self) -> &[Word] {
        &self.0[IN_OUT_WORDS..ENT_WORD]
    }

    /// Second word of both the request's and the reply's header.
    #[inline(always)]
    pub fn unique(&self) -> &Word {
        &self.0[1]
    }

    /// `ring_ent.commit_id`.
    #[inline(always)]
    pub fn commit_id(&self) -> &Word {
        &self.0[ENT_WORD + 1]
    }

    /// `ring_ent.payload_sz`, in the lower half.
    #[inline(always)]
    pub fn payload_len(&self) -> &Word {
        &self.0[ENT_WORD + 2]
    }
}

/// One slot: a FUSE ring entry's header and who owns it (protocol 3).
#[repr(C)]
#[cfg_attr(not(shmfuse_loom), repr(align(512)))] // models build them on small stacks
#[derive(Debug)]
pub struct Slot {
    /// By the kernel at an arrival; by the owner for the reply.
    pub header: Header,
    /// Owner and request.
    pub word: SlotWord,
    /// Where in the SQ the commit goes, by the daemon before it commits (protocol 3.5).
    pub commit_position: Word32,
    /// 1 from before a commit until after its publication, else 0; by the daemon.
    pub commit_pending: Word32,
    /// By the program, at an arrival: what is to be made of the reply.
    pub renewal: crate::renewal::Renewal,
    /// By the program, before it dispatches: what it ruled, and on which request.
    pub ruling: Word,
}

impl Blank for Slot {
    fn blank() -> Self {
        Self {
            header: Header(Blank::blank()),
            word: SlotWord::default(),
            commit_position: Word32::default(),
            commit_pending: Word32::default(),
            renewal: crate::renewal::Renewal::default(),
            ruling: Word::default(),
        }
    }
}

/// A word alone on its cache line.
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct Line<T>(pub T);

/// One entry of a lane. It is a hint where to look; what it says is checked against the slot.
#[repr(C)]
#[derive(Default, Debug)]
pub struct LaneEntry {
    /// The request's number.
    pub unique: Word,
    /// Slot (bits 0..16), queue (16..32), opcode (32..64).
    pub what: Word,
}

/// An index ring from the program to one consumer (protocol 4).
#[repr(C)]
#[derive(Debug)]
pub struct Lane<const ENTRIES: usize = LANE_ENTRIES> {
    /// Written by the program.
    pub tail: Line<LaneTail>,
    /// Written by the consumer.
    pub head: Line<LaneHead>,
    /// Written by the program.
    pub entries: [LaneEntry; ENTRIES],
}

impl<const ENTRIES: usize> Blank for Lane<ENTRIES> {
    fn blank() -> Self {
        Self {
            tail: Line::default(),
            head: Line::default(),
            entries: Blank::blank(),
        }
    }
}

/// One SQE of 128 bytes (`IORING_SETUP_SQE128`).
#[repr(C)]
#[derive(Default, Debug)]
pub struct SqeWords(pub [Word; 16]);

/// One CQE. The kernel writes it; the program marks its flags (protocol 6.2).
#[repr(C)]
#[derive(Default, Debug)]
pub struct CqeWords {
    /// The tag of what completed.
    pub user_data: Word,
    /// 0, or a negative errno.
    pub res: Word32,
    /// 0 by the kernel, then the program's mark.
    pub flags: Word32,
}

/// `struct io_rings` up to the CQEs (include/linux/io_uring_types.h).
#[repr(C, align(64))]
#[derive(Default, Debug)]
pub struct RingWords {
    /// By the kernel: SQEs consumed.
    pub sq_head: SqHead,
    /// By the SQ's writer: SQEs published.
    pub sq_tail: SqTail,
    /// By program or daemon: CQEs consumed.
    pub cq_head: CqHead,
    /// By the kernel: CQEs published.
    pub cq_tail: CqTail,
    /// Masks and sizes, by the kernel.
    pub sizes: [Word32; 4],
    /// By the kernel: SQEs it refused (never, without an SQ array).
    pub sq_dropped: Word32,
    /// By the kernel: `IORING_SQ_*`.
    pub sq_flags: SqFlags,
    /// `IORING_CQ_*`.
    pub cq_flags: Word32,
    /// By the kernel: CQEs lost for lack of memory.
    pub cq_overflow: Word32,
}

/// The memory of one io_uring (`IORING_SETUP_NO_MMAP`): SQEs, then the rings.
#[repr(C)]
#[cfg_attr(not(shmfuse_loom), repr(align(4096)))] // models build them on small stacks
#[derive(Debug)]
pub struct Ring<const SQES: usize = SQ_ENTRIES, const CQES: usize = CQ_ENTRIES> {
    /// `sq_off.user_addr` points here.
    pub sqes: [SqeWords; SQES],
    /// `cq_off.user_addr` points here.
    pub words: RingWords,
    /// `cq_off.cqes` leads here from `words`.
    pub cqes: [CqeWords; CQES],
}

impl<const SQES: usize, const CQES: usize> Blank for Ring<SQES, CQES> {
    fn blank() -> Self {
        Self {
            sqes: Blank::blank(),
            words: RingWords::default(),
            cqes: Blank::blank(),
        }
    }
}

/// Where one consumer sleeps (protocol 7).
pub type Park = Line<ParkWord>;

/// First word of the control page: "shmfuse" in ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"shmfuse\0");

/// What describes a mount to the programs, and to who looks at the maps from outside. Written by
/// the daemon before any entry is registered; only the session changes afterwards.
#[repr(C)]
#[cfg_attr(not(shmfuse_loom), repr(align(4096)))] // models build them on small stacks
#[derive(Default, Debug)]
pub struct Control {
    /// [`MAGIC`].
    pub magic: Word,
    /// [`Version`](crate::version::Version).
    pub version: Word32,
    /// Running or closing (protocol 11).
    pub session: SessionWord,
    /// Queues, one for each possible CPU.
    pub queues: Word32,
    /// Slots per queue.
    pub depth: Word32,
    /// Rings per queue: 1 in the worker engine, 2 in the kernel engine.
    pub rings: Word32,
    /// Consumers, and so parking words.
    pub consumers: Word32,
    /// Length in bytes of a payload's head, which lies in a map.
    pub head_len: Word32,
    /// Length in bytes of a payload.
    pub payload_len: Word32,
    /// The daemon's process id.
    pub pid: Word32,
    /// Minor number of the mount's device.
    pub device: Word32,
    /// The mount's cookie in every tag.
    pub cookie: Word32,
    /// Whether data may go past the daemon: 1, else 0.
    pub passthrough: Word32,
    /// The address of the first parking word in the daemon.
    pub parks_address: Word,
    /// How long the kernel may believe names and attributes, microseconds.
    pub ttl_us: Word,
    /// Facts that there is room for; 0: the program answers nothing.
    pub facts: Word,
    /// Whether untrue ones are renewed from replies: 1, else 0.
    pub renews: Word,
    /// What a listing brings with it: 0 nothing, 1 attributes, 2 what lies ahead as well.
    pub ahead: Word,
    /// Whether the daemon merges adjacent READs and WRITEs: 1, else 0.
    pub merges: Word,
    /// What is counted of them.
    pub cache: CacheCounters,
}

#[cfg(not(shmfuse_loom))]
mod asserts {
    use super::*;
    use core::mem::{align_of, offset_of, size_of};

    macro_rules! holds {
        ($($what:expr),+ $(,)?) => { $(const _: () = assert!($what, stringify!($what));)+ };
    }

    holds! {
        size_of::<Header>() == size_of::<crate::wire::UringReqHeader>(),
        offset_of!(crate::wire::UringReqHeader, op_in) == IN_OUT_WORDS * 8,
        offset_of!(crate::wire::UringReqHeader, ring_ent) == ENT_WORD * 8,
        offset_of!(crate::wire::UringEntInOut, commit_id) == 8,
        offset_of!(crate::wire::UringEntInOut, payload_sz) == 16,
        offset_of!(crate::wire::InHeader, unique) == 8,
        offset_of!(crate::wire::OutHeader, unique) == 8,
        size_of::<Slot>() == 512,
        offset_of!(Slot, word) == 288,
        offset_of!(Slot, commit_position) == 296,
        offset_of!(Slot, renewal) == 304,
        offset_of!(Slot, ruling) == 336,
        size_of::<Lane>() == 2176,
        offset_of!(Lane, head) == 64,
        offset_of!(Lane, entries) == 128,
        size_of::<RingWords>() == 64,
        offset_of!(RingWords, sq_tail) == 4,
        offset_of!(RingWords, cq_head) == 8,
        offset_of!(RingWords, cq_tail) == 12,
        offset_of!(RingWords, sq_flags) == 36,
        size_of::<CqeWords>() == 16,
        size_of::<SqeWords>() == 128,
        offset_of!(Ring, words) == 32768,
        offset_of!(Ring, cqes) == 32832,
        size_of::<Ring>() == 45056,
        size_of::<Park>() == 64,
        size_of::<QueueCounters>() == 256,
        offset_of!(QueueCounters, daemon) == 128,
        size_of::<crate::counters::OpCounters>() == 128,
        offset_of!(crate::counters::OpCounters, commits) == 64,
        size_of::<Control>() == 4096,
        align_of::<Ring>() == 4096,
        LANE_ENTRIES >= MAX_DEPTH,
        SQ_ENTRIES >= 2 * MAX_DEPTH,
        CQ_ENTRIES > 2 * MAX_DEPTH,
    }
}
