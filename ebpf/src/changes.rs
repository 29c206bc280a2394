//! Changes that anybody makes to inodes of the lower file system.
//!
//! A change is noticed while it is being made: the kernel's tracepoints fire when an inode is marked
//! dirty, which may be before its effect can be seen (a name is removed from the dcache after the
//! directory was marked, a file's size is set after its times). So a change *begins* there
//! (`transport::generation`), and *ends* when the system call that makes it returns: until then
//! no fact about the inode is made. A task that makes no system calls, or makes them for others (kernel
//! threads, io_uring's workers), or is about to end, has no such end; its change is over at once, and that
//! names in a directory may still change is told apart (`generation::ENDLESS`).
#![expect(
    unsafe_code,
    reason = "loads from the kernel's memory, which the verifier checks; the kernel's helpers"
)]

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_MMAPABLE},
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task_btf},
    macros::map,
    maps::{Array, HashMap, RingBuf},
    programs::BtfTracePointContext,
};
use transport::{
    changes::{ChangeCounters, Lower, Report, is_wanted},
    generation, layout,
    place::{AT_ONCE, Begun, PLACES, Place},
    sync::InterestWord,
};

use crate::{generations::Generations, request::FieldOffset};

/// Which mount's lower file system is meant; set by user space.
#[map]
static LOWER: Array<Lower> = Array::with_max_entries(1, 0);
/// Mapped by the daemon too, as are the counters.
#[map]
static INTEREST: Array<InterestWord> =
    Array::with_max_entries(layout::GENERATIONS as u32, BPF_F_MMAPABLE);
#[map]
static CHANGE_COUNTERS: Array<ChangeCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// To the daemon; user space sets the size.
#[map]
static CHANGES: RingBuf = RingBuf::with_byte_size(4096, 0);
/// What the tasks are changing at the moment: each has the place that its number falls on. An array, because
/// every system call of the machine looks here when it ends.
#[map]
static CHANGING: Array<Place> = Array::with_max_entries(PLACES, 0);
/// The same of tasks whose place another had. When it is full, changes are over at once.
#[map]
static DISPLACED: HashMap<u32, Displaced> = HashMap::with_max_entries(8192, 0);

#[unsafe(no_mangle)]
static OFFSET_INODE_I_INO: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_INODE_I_MODE: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_INODE_I_SB: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_SUPER_BLOCK_S_DEV: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_TASK_STRUCT_FLAGS: FieldOffset = FieldOffset::UNSET;

/// `PF_EXITING`, `PF_IO_WORKER`, `PF_KTHREAD` (include/linux/sched.h).
const WITHOUT_END: u32 = 0x4 | 0x10 | 0x0020_0000;

/// `S_IFMT` and `S_IFDIR` (include/uapi/linux/stat.h).
const FORMAT: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;

/// The indices of what a task is changing that has no place.
#[repr(C)]
#[derive(Clone, Copy)]
struct Displaced {
    len: u32,
    indices: [u32; AT_ONCE],
}

/// The inode that is argument `number` of the tracepoint is about to change, or has just changed.
#[inline(always)]
pub fn notice_argument(ctx: &BtfTracePointContext, number: usize) {
    // SAFETY: the callers' tracepoints have a `struct inode *` there; the verifier refuses others.
    unsafe { notice(ctx.arg::<*const u8>(number)) }
}

/// # Safety
///
/// `inode` is a `struct inode *` that the verifier knows as such.
#[inline(always)]
unsafe fn notice(inode: *const u8) {
    let Some(lower) = LOWER.get(0).copied() else {
        return;
    };
    // SAFETY: the caller's promise; the offsets are from the kernel's BTF, and the verifier refuses
    // the program if they are wrong.
    let device = unsafe {
        let super_block = OFFSET_INODE_I_SB.load::<*const u8>(inode);
        OFFSET_SUPER_BLOCK_S_DEV.load::<u32>(super_block)
    };
    if device != lower.device || device == 0 {
        return;
    }
    // SAFETY: as above.
    let (number, mode) = unsafe {
        let mode = OFFSET_INODE_I_MODE.load::<u16>(inode);
        (OFFSET_INODE_I_INO.load::<u64>(inode), mode)
    };
    let move_at_once = |index| {
        if mode & FORMAT == DIRECTORY {
            generation::bump_without_end(&Generations, index);
        } else {
            generation::bump(&Generations, index);
        }
    };
    let index = generation::index_of(u64::from(device), number);
    let thread = bpf_get_current_pid_tgid();
    let own = (thread >> 32) as u32 == lower.process;
    if has_end() {
        match begin(thread as u32, index) {
            Begun::Again => {}
            Begun::Now => {
                generation::begin_change(&Generations, index);
                count(|counters| counters.noticed.add(1));
            }
            Begun::Crowded | Begun::Taken => {
                move_at_once(index);
                count(|counters| counters.crowded.add(1));
            }
        }
    } else {
        move_at_once(index);
        count(|counters| counters.noticed.add(1));
    }
    // Also if it has begun before: who writes to a mapping may make no system call for long.
    if !own {
        report(index);
    }
}

/// The calling task's system call ends, or the task does.
#[inline(always)]
pub fn end() {
    let thread = bpf_get_current_pid_tgid();
    let key = thread as u32;
    if let Some(place) = CHANGING.get(key & (PLACES - 1)) {
        place.end(key, |index| end_one(thread, index));
    }
    let displaced = |counters: &ChangeCounters| counters.displaced.get() != 0;
    if CHANGE_COUNTERS.get(0).is_some_and(displaced) {
        end_displaced(thread);
    }
}

#[inline(always)]
fn end_displaced(thread: u64) {
    let key = thread as u32;
    // SAFETY: only this task, which is here, writes the element.
    let Some(changing) = (unsafe { DISPLACED.get(key) }) else {
        return;
    };
    let len = changing.len as usize;
    for (at, &index) in changing.indices.iter().enumerate() {
        if at < len {
            end_one(thread, index);
        }
    }
    // It is there: nobody else removes it.
    let _ = DISPLACED.remove(key);
}

#[inline(always)]
fn end_one(thread: u64, index: u32) {
    generation::end_change(&Generations, index);
    let process = (thread >> 32) as u32;
    let own = LOWER.get(0).is_some_and(|lower| process == lower.process);
    if !own {
        report(index);
    }
}

#[inline(always)]
fn begin(key: u32, index: u32) -> Begun {
    let place = CHANGING.get(key & (PLACES - 1));
    match place.map_or(Begun::Crowded, |place| place.begin(key, index)) {
        Begun::Taken => begin_displaced(key, index),
        begun => begun,
    }
}

#[inline(always)]
fn begin_displaced(key: u32, index: u32) -> Begun {
    // From now on every end of a system call looks there, this one's too.
    count(|counters| counters.displaced.add(1));
    let Some(changing) = DISPLACED.get_ptr_mut(key) else {
        let mut first = Displaced {
            len: 1,
            indices: [0; AT_ONCE],
        };
        first.indices[0] = index;
        return match DISPLACED.insert(key, first, u64::from(BPF_ANY)) {
            Ok(()) => Begun::Now,
            Err(_) => Begun::Crowded,
        };
    };
    // SAFETY: the element stays the map's during the program; only this task, which is here, writes it.
    let changing = unsafe { &mut *changing };
    let len = changing.len as usize;
    let mut open = changing.indices.iter().take(len);
    if open.any(|&known| known == index) {
        return Begun::Again;
    }
    match changing.indices.get_mut(len) {
        Some(place) => {
            *place = index;
            changing.len = changing.len.wrapping_add(1);
            Begun::Now
        }
        None => Begun::Crowded,
    }
}

/// Tells the daemon, if it wants to know.
#[inline(always)]
fn report(index: u32) {
    let Some(interest) = INTEREST.get(index) else {
        return;
    };
    if !is_wanted(interest) {
        return;
    }
    let report = Report::from(index);
    match CHANGES.output::<Report>(&report, 0) {
        Ok(()) => count(|counters| counters.reported.add(1)),
        Err(_) => count(|counters| counters.lost.add(1)),
    }
}

/// Whether the calling task will come out of a system call.
#[inline(always)]
fn has_end() -> bool {
    // SAFETY: the helper has no precondition; the verifier knows the type of what it returns.
    let flags = unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>();
        OFFSET_TASK_STRUCT_FLAGS.load::<u32>(task)
    };
    flags & WITHOUT_END == 0
}

#[inline(always)]
fn count(add: impl FnOnce(&ChangeCounters)) {
    if let Some(counters) = CHANGE_COUNTERS.get(0) {
        add(counters);
    }
}
