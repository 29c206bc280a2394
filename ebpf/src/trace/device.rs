//! From the daemon's system calls on `/dev/fuse` to the FUSE requests that they carry.
//!
//! fs/fuse/dev.c has no tracepoint where a request is read or its answer is written, so the calls themselves are
//! looked at: read(2) that has returned with a request, or splice(2) followed by read(2) of the pipe; write(2),
//! writev(2) or splice(2) that has begun, and within which the request ends.
//!
//! Whether a descriptor is `/dev/fuse` the kernel's own tables say. What a request's number is, is read where the
//! kernel has just written it.
#![expect(
    unsafe_code,
    reason = "the kernel's and the daemon's memory, read by helpers; elements of maps; constants set at load"
)]

use core::ptr;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_user},
    macros::map,
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use transport::wire::Opcode;

use crate::{entry::read, lives::now_ns, request::FieldOffset};

#[unsafe(no_mangle)]
static OFFSET_PT_REGS_NUMBER: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_PT_REGS_FIRST: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_PT_REGS_SECOND: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_TASK_STRUCT_FILES: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FILES_STRUCT_FDT: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FDTABLE_FD: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_FILE_F_INODE: FieldOffset = FieldOffset::UNSET;
#[unsafe(no_mangle)]
static OFFSET_INODE_I_RDEV: FieldOffset = FieldOffset::UNSET;

/// The numbers of read(2), write(2), writev(2) and splice(2), which user space sets.
#[unsafe(no_mangle)]
static TRACE_CALLS: [u32; 4] = [0; 4];

/// `/dev/fuse` as the kernel's `dev_t`: `MISC_MAJOR`, include/uapi/linux/major.h; `FUSE_MINOR`,
/// include/linux/miscdevice.h.
const DEVICE: u32 = 10 << 20 | 229;

/// The first fields of `struct fuse_in_header`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    len: u32,
    opcode: u32,
    unique: u64,
}

/// What a thread of the daemon is about.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Thread {
    /// When the call began that may carry an answer; 0 outside of one.
    giving_ns: u64,
    /// When a request came into the thread's pipe; 0 if it has been read from there.
    piped_ns: u64,
    /// Its bytes.
    piped_len: u64,
}

/// By thread.
#[map]
static THREADS: LruHashMap<u64, Thread> = LruHashMap::with_max_entries(4096, 0);
/// When the daemon took a request, by the request's number. What never ends makes room for others.
#[map]
static TAKEN: LruHashMap<u64, u64> = LruHashMap::with_max_entries(8192, 0);

enum Call {
    Read,
    Give,
    Splice,
    Other,
}

impl Call {
    #[inline(always)]
    fn of(number: u32) -> Self {
        // SAFETY: made from a reference; volatile, for the compiler must not take the values in this
        // source for those at load time.
        let [read, write, writev, splice] = unsafe { ptr::read_volatile(&raw const TRACE_CALLS) };
        if number == read {
            Self::Read
        } else if number == splice {
            Self::Splice
        } else if number == write || number == writev {
            Self::Give
        } else {
            Self::Other
        }
    }
}

/// A system call of the daemon begins (`sys_enter`).
#[inline(always)]
pub fn call_begins(ctx: &BtfTracePointContext) {
    if let Call::Give | Call::Splice = Call::of(ctx.arg::<u64>(1) as u32) {
        with_new_thread(|thread| thread.giving_ns = now_ns());
    }
}

/// A system call of the daemon ends (`sys_exit`).
#[inline(always)]
pub fn call_ends(ctx: &BtfTracePointContext) {
    let registers = ctx.arg::<*const u8>(0);
    // SAFETY: the address is a `struct pt_regs`' by the kernel's own BTF, from which the offset is; the
    // verifier refuses the program otherwise.
    let number: u64 = unsafe { OFFSET_PT_REGS_NUMBER.load(registers) };
    let returned = ctx.arg::<u64>(1);
    let came = (returned as i64) > 0;
    match Call::of(number as u32) {
        Call::Give => {
            let _ = with_thread(|thread| thread.giving_ns = 0);
        }
        Call::Splice => {
            let piped = came && is_device(registers);
            with_new_thread(|thread| {
                thread.giving_ns = 0;
                if piped {
                    thread.piped_ns = now_ns();
                    thread.piped_len = returned;
                }
            });
        }
        Call::Read if came => {
            let piped = with_thread(|thread| {
                let piped = (thread.piped_ns, thread.piped_len);
                thread.piped_ns = 0;
                piped
            });
            match piped {
                Some((since, len)) if since != 0 => taken(registers, len, since),
                _ if is_device(registers) => taken(registers, returned, now_ns()),
                _ => {}
            }
        }
        _ => {}
    }
}

/// When the request of this number was taken by the daemon; the number is forgotten with that.
#[inline(always)]
pub fn taken_ns(unique: u64) -> Option<u64> {
    // SAFETY: copied out at once.
    let since = unsafe { TAKEN.get(unique).copied() };
    let _ = TAKEN.remove(unique); // not there on transports with rings
    since
}

/// When the answer was given in whose course this is called.
#[inline(always)]
pub fn given_ns() -> Option<u64> {
    with_thread(|thread| thread.giving_ns).filter(|since| *since != 0)
}

/// A request of `len` bytes was taken by a call whose buffer begins with it.
#[inline(always)]
fn taken(registers: *const u8, len: u64, since: u64) {
    // SAFETY: as in `call_ends`.
    let buffer: u64 = unsafe { OFFSET_PT_REGS_SECOND.load(registers) };
    // SAFETY: the helper checks the address; any bytes are a `Head`.
    let Ok(head) = (unsafe { bpf_probe_read_user(buffer as *const Head) }) else {
        return;
    };
    let nobody_waits = [
        Opcode::FORGET.0,
        Opcode::BATCH_FORGET.0,
        Opcode::INTERRUPT.0,
    ];
    if u64::from(head.len) == len && !nobody_waits.contains(&head.opcode) {
        let _ = TAKEN.insert(head.unique, since, 0); // full: not seen
    }
}

/// Whether a call's first argument is a descriptor of `/dev/fuse`.
#[inline(always)]
fn is_device(registers: *const u8) -> bool {
    // SAFETY: as in `call_ends`.
    let descriptor: u64 = unsafe { OFFSET_PT_REGS_FIRST.load(registers) };
    device_of(descriptor as u32) == Some(DEVICE)
}

/// The device number of the calling task's open file `descriptor`: `fd[descriptor]` of its table.
#[inline(always)]
fn device_of(descriptor: u32) -> Option<u32> {
    // SAFETY: the helper has no precondition.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, OFFSET_TASK_STRUCT_FILES.get())?;
    let table: u64 = read(files, OFFSET_FILES_STRUCT_FDT.get())?;
    let open: u64 = read(table, OFFSET_FDTABLE_FD.get())?;
    let file: u64 = read(open, descriptor as usize * size_of::<u64>())?;
    let inode: u64 = read(file, OFFSET_FILE_F_INODE.get())?;
    read(inode, OFFSET_INODE_I_RDEV.get())
}

/// What is known of the calling thread, which may be nothing yet: it may have begun to wait before the trace began.
#[inline(always)]
fn with_new_thread(act: impl FnOnce(&mut Thread)) {
    let thread = bpf_get_current_pid_tgid();
    if THREADS.get_ptr(thread).is_none() {
        let _ = THREADS.insert(thread, Thread::default(), 0); // full: not seen
    }
    let _ = with_thread(act);
}

/// What is known of the calling thread, if anything is.
#[inline(always)]
fn with_thread<T>(act: impl FnOnce(&mut Thread) -> T) -> Option<T> {
    let thread = THREADS.get_ptr_mut(bpf_get_current_pid_tgid())?;
    // SAFETY: an element of the map, which this thread alone uses. Should it be another's by now, then a
    // time of that one is wrong, and nothing worse.
    Some(act(unsafe { &mut *thread }))
}
