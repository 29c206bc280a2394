//! Loading and attaching of trivial programs, to see what the kernel lets this user do. They
//! return 0 and are let go at once.

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Commands of bpf(2) (include/uapi/linux/bpf.h, `enum bpf_cmd`).
const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// What a program is loaded as (`enum bpf_prog_type`, `enum bpf_attach_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// `BPF_PROG_TYPE_*`.
    pub program: u32,
    /// `expected_attach_type`.
    pub attach: u32,
    /// The BTF id of what it is attached to; 0 for kinds that have none.
    pub target: u32,
}

/// `BPF_PROG_LOAD`'s part of `union bpf_attr`, up to the last field in use.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// `BPF_RAW_TRACEPOINT_OPEN`'s part of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    name: u64,
    prog_fd: u32,
    reserved: u32,
}

/// `BPF_MAP_CREATE`'s part of `union bpf_attr`, up to the last field in use.
#[repr(C)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// One instruction, as the kernel lays it out: `struct bpf_insn`.
pub type Instruction = u64;

const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    opcode as u64
        | (registers as u64) << 8
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

/// `r0 = 0; exit`.
pub const RETURN_0: &[Instruction] = &[
    instruction(0xb7, 0, 0, 0), // BPF_ALU64 | BPF_MOV | BPF_K
    instruction(0x95, 0, 0, 0), // BPF_JMP | BPF_EXIT
];

/// A word of the stack written with release and read with acquire ordering
/// (Documentation/bpf/standardization/instruction-set.rst, "Atomic operations"; Linux 6.15).
pub const ACQUIRE_AND_RELEASE: &[Instruction] = &[
    instruction(0xb7, 0, 0, 0),
    // store_release((u64 *)(r10 - 8), r0): BPF_STX | BPF_ATOMIC | BPF_DW
    instruction(0xdb, 0x0a, -8, 0x110),
    // r0 = load_acquire((u64 *)(r10 - 8))
    instruction(0xdb, 0xa0, -8, 0x100),
    instruction(0xb7, 0, 0, 0),
    instruction(0x95, 0, 0, 0),
];

/// A loaded program.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// How often a program is loaded that the verifier is interrupted at; libbpf does with 5 on a machine
/// that is less busy (`PROG_LOAD_ATTEMPTS`, tools/lib/bpf/bpf.c).
pub const LOAD_ATTEMPTS: u32 = 20;

/// Whether loading a program has failed because something else waited for the thread.
pub fn is_interrupted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}

/// Loads a program.
///
/// # Errors
///
/// What bpf(2) says.
pub fn load(kind: Kind, code: &[Instruction]) -> io::Result<Program> {
    let license = c"GPL";
    let attr = LoadAttr {
        prog_type: kind.program,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: kind.attach,
        attach_btf_id: kind.target,
        ..LoadAttr::default()
    };
    // The verifier gives up when anything waits for this thread, work of an io_uring that was closed
    // for one (`signal_pending` in `do_check`, kernel/bpf/verifier.c).
    let mut attempts = 1;
    loop {
        match bpf(PROG_LOAD, &attr) {
            Err(error) if is_interrupted(&error) && attempts < LOAD_ATTEMPTS => attempts += 1,
            outcome => return outcome.map(Program),
        }
    }
}

/// Attaches a program: to the tracepoint of this name, or to what it was loaded for.
///
/// # Errors
///
/// What bpf(2) says.
pub fn attach(program: &Program, tracepoint: Option<&CStr>) -> io::Result<()> {
    let attr = AttachAttr {
        name: tracepoint.map_or(0, |name| name.as_ptr() as u64),
        prog_fd: program.0.as_raw_fd() as u32,
        ..AttachAttr::default()
    };
    bpf(RAW_TRACEPOINT_OPEN, &attr).map(drop)
}

/// Makes an array map that can be mapped into memory.
///
/// # Errors
///
/// What bpf(2) says.
pub fn mappable_array() -> io::Result<()> {
    /// `BPF_MAP_TYPE_ARRAY`.
    const ARRAY: u32 = 2;
    /// `BPF_F_MMAPABLE`.
    const MMAPABLE: u32 = 1 << 10;
    let attr = MapAttr {
        map_type: ARRAY,
        key_size: 4,
        value_size: 4096,
        max_entries: 1,
        map_flags: MMAPABLE,
    };
    bpf(MAP_CREATE, &attr).map(drop)
}

/// Calls bpf(2) with a command that returns a descriptor. `T` is the part of `union bpf_attr`
/// that belongs to the command; the kernel takes what is beyond it for zero.
fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads size_of::<T>() bytes at `attr`, which are valid. The pointers in
    // them lead to the program's code, its licence and a name, which outlive the call: the caller
    // of this function holds them. It writes nothing (no log buffer is given).
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    let fd = i32::try_from(fd).expect("a descriptor is an int");
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the command has succeeded, so that this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
