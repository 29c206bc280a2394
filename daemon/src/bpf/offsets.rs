//! Where the fields of the kernel's structures lie, from the running kernel's BTF.
//!
//! Rust has no CO-RE, so the loader does what it would do: look each field up by name and hand its
//! offset to the programs as a constant. A wrong one is no danger: the verifier knows the types
//! and refuses a load of something else than a field.

use super::btf::{Btf, KERNEL};
use crate::error::{Error, Result};

/// A field of a kernel structure, and the constant in the eBPF object that takes its offset.
pub(super) struct Field {
    global: &'static str,
    structure: &'static str,
    /// Member names from the structure inwards, with dots between.
    path: &'static str,
}

/// The fields that the programs of a mount read, in fs/fuse/fuse_i.h, include/linux/io_uring_types.h,
/// fs.h and sched.h; ebpf/src/request.rs, changes.rs and programs/io_uring_complete.rs have the
/// constants.
pub(super) const MOUNT: &[Field] = &[
    field("OFFSET_FUSE_REQ_FM", "fuse_req", "fm"),
    field("OFFSET_FUSE_REQ_IN_OPCODE", "fuse_req", "in.h.opcode"),
    field("OFFSET_FUSE_REQ_OUT_ERROR", "fuse_req", "out.h.error"),
    field("OFFSET_FUSE_MOUNT_FC", "fuse_mount", "fc"),
    field("OFFSET_FUSE_CONN_DEV", "fuse_conn", "dev"),
    field(
        "OFFSET_IO_RING_CTX_CACHED_CQ_TAIL",
        "io_ring_ctx",
        "cached_cq_tail",
    ),
    field("OFFSET_IO_KIOCB_CQE_USER_DATA", "io_kiocb", "cqe.user_data"),
    field("OFFSET_INODE_I_INO", "inode", "i_ino"),
    field("OFFSET_INODE_I_MODE", "inode", "i_mode"),
    field("OFFSET_INODE_I_SB", "inode", "i_sb"),
    field("OFFSET_SUPER_BLOCK_S_DEV", "super_block", "s_dev"),
    field("OFFSET_TASK_STRUCT_FLAGS", "task_struct", "flags"),
];

/// The fields that the tracing programs read, in addition in fs/fuse/dev_uring_i.h and
/// include/linux/io_uring/cmd.h; ebpf/src/trace has the constants.
pub(super) const TRACE: &[Field] = &[
    field("OFFSET_FUSE_REQ_FM", "fuse_req", "fm"),
    field("OFFSET_FUSE_REQ_IN_OPCODE", "fuse_req", "in.h.opcode"),
    field("OFFSET_FUSE_REQ_OUT_ERROR", "fuse_req", "out.h.error"),
    field("OFFSET_FUSE_MOUNT_FC", "fuse_mount", "fc"),
    field("OFFSET_FUSE_CONN_DEV", "fuse_conn", "dev"),
    field("OFFSET_FUSE_REQ_IN_UNIQUE", "fuse_req", "in.h.unique"),
    field("OFFSET_FUSE_REQ_IN_NODEID", "fuse_req", "in.h.nodeid"),
    field("OFFSET_FUSE_REQ_IN_UID", "fuse_req", "in.h.uid"),
    field("OFFSET_FUSE_REQ_IN_GID", "fuse_req", "in.h.gid"),
    field("OFFSET_FUSE_REQ_IN_PID", "fuse_req", "in.h.pid"),
    field("OFFSET_FUSE_REQ_IN_LEN", "fuse_req", "in.h.len"),
    field("OFFSET_FUSE_REQ_OUT_LEN", "fuse_req", "out.h.len"),
    field("OFFSET_IO_KIOCB_OPCODE", "io_kiocb", "opcode"),
    field("OFFSET_IO_URING_CMD_SQE", "io_uring_cmd", "sqe"),
    field("OFFSET_IO_URING_CMD_PDU", "io_uring_cmd", "pdu"),
    field("OFFSET_FUSE_RING_ENT_FUSE_REQ", "fuse_ring_ent", "fuse_req"),
];

/// Those that they read of a mount without rings, in include/linux/fdtable.h and fs.h and in
/// arch/*/include/asm/ptrace.h.
pub(super) const TRACE_DEVICE: &[Field] = &[
    field("OFFSET_PT_REGS_NUMBER", "pt_regs", REGISTERS[0]),
    field("OFFSET_PT_REGS_FIRST", "pt_regs", REGISTERS[1]),
    field("OFFSET_PT_REGS_SECOND", "pt_regs", REGISTERS[2]),
    field("OFFSET_TASK_STRUCT_FILES", "task_struct", "files"),
    field("OFFSET_FILES_STRUCT_FDT", "files_struct", "fdt"),
    field("OFFSET_FDTABLE_FD", "fdtable", "fd"),
    field("OFFSET_FILE_F_INODE", "file", "f_inode"),
    field("OFFSET_INODE_I_RDEV", "inode", "i_rdev"),
];

/// Where a system call's number and its first two arguments lie when it ends: `syscall_get_nr` and
/// `syscall_get_arguments`, arch/*/include/asm/syscall.h.
#[cfg(target_arch = "x86_64")]
const REGISTERS: [&str; 3] = ["orig_ax", "di", "si"];
/// Not known: a mount without rings cannot be traced.
#[cfg(not(target_arch = "x86_64"))]
const REGISTERS: [&str; 3] = [""; 3];

const fn field(global: &'static str, structure: &'static str, path: &'static str) -> Field {
    Field {
        global,
        structure,
        path,
    }
}

/// The offsets of tables of fields, in bytes.
#[derive(Debug)]
pub struct Offsets(Vec<(&'static str, u32)>);

impl Offsets {
    /// Looks the fields up in the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the kernel has no BTF, or a structure lacks the field.
    pub(super) fn of_running_kernel(tables: &[&'static [Field]]) -> Result<Self> {
        let btf = Btf::of_running_kernel().map_err(|error| Error::Unsupported {
            what: format!("cannot read the kernel's types in {KERNEL}: {error}"),
            remedy: "the kernel must be built with CONFIG_DEBUG_INFO_BTF".to_owned(),
        })?;
        let offset = |field: &Field| match btf.offset_of(field.structure, field.path) {
            Some(offset) => Ok((field.global, offset)),
            None => Err(Error::Unsupported {
                what: format!(
                    "this kernel's struct {} has no {}",
                    field.structure, field.path
                ),
                remedy: "Linux 6.14 or newer is needed, with FUSE built in".to_owned(),
            }),
        };
        let fields = tables.iter().copied().flatten();
        fields.map(offset).collect::<Result<_>>().map(Self)
    }

    /// Each constant of the eBPF object with the value it is to have.
    pub fn globals(&self) -> impl Iterator<Item = (&'static str, &u32)> {
        self.0.iter().map(|(global, offset)| (*global, offset))
    }
}
