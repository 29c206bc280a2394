//! Where the fields of the kernel's structures lie, from the running kernel's BTF.
//!
//! Rust has no CO-RE, so the loader does what it would do: look each field up by name and hand its
//! offset to the programs as a constant. A wrong one is no danger: the verifier knows the types
//! and refuses a load of something else than a field.

use btf_rs::{Backend, Btf, BtfType, Type};

use crate::error::{Error, Result};

/// The running kernel's types.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

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

const fn field(global: &'static str, structure: &'static str, path: &'static str) -> Field {
    Field {
        global,
        structure,
        path,
    }
}

/// The offsets of a table of fields, in bytes.
#[derive(Debug)]
pub struct Offsets(Vec<(&'static str, u32)>);

impl Offsets {
    /// Looks the fields up in the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the kernel has no BTF, or a structure lacks the field.
    pub(super) fn of_running_kernel(fields: &'static [Field]) -> Result<Self> {
        // Mapped, it is searched in 10 ms. A kernel older than 6.16 does not let it be mapped; read
        // and indexed, it takes 25 times as long.
        let btf = Btf::from_file_with_backend(KERNEL_BTF, Backend::Mmap)
            .or_else(|_| Btf::from_file(KERNEL_BTF))
            .map_err(|error| Error::Unsupported {
                what: format!("cannot read the kernel's types in {KERNEL_BTF}: {error}"),
                remedy: "the kernel must be built with CONFIG_DEBUG_INFO_BTF".to_owned(),
            })?;
        let offsets = fields.iter().map(|field| match offset_of(&btf, field) {
            Some(offset) => Ok((field.global, offset)),
            None => Err(Error::Unsupported {
                what: format!(
                    "this kernel's struct {} has no {}",
                    field.structure, field.path
                ),
                remedy: "Linux 6.14 or newer is needed, with FUSE built in".to_owned(),
            }),
        });
        offsets.collect::<Result<_>>().map(Self)
    }

    /// Each constant of the eBPF object with the value it is to have.
    pub fn globals(&self) -> impl Iterator<Item = (&'static str, &u32)> {
        self.0.iter().map(|(global, offset)| (*global, offset))
    }
}

fn offset_of(btf: &Btf, field: &Field) -> Option<u32> {
    let mut ty = btf
        .resolve_types_by_name(field.structure)
        .ok()?
        .into_iter()
        .find(|ty| matches!(ty, Type::Struct(_)))?;
    let mut bits = 0;
    for name in field.path.split('.') {
        let (offset, member) = member(btf, &ty, name)?;
        bits += offset;
        ty = member;
    }
    Some(bits / 8)
}

/// The member `name` of a structure or union, or of one without a name inside it: its offset in
/// bits, and its type.
fn member(btf: &Btf, ty: &Type, name: &str) -> Option<(u32, Type)> {
    let (Type::Struct(structure) | Type::Union(structure)) = ty else {
        return None;
    };
    structure.members.iter().find_map(|member| {
        let found = btf.resolve_name(member).unwrap_or_default();
        if found != name && !found.is_empty() {
            return None;
        }
        let ty = plain_type(btf, member)?;
        if found == name {
            return Some((member.bit_offset(), ty));
        }
        let (offset, inner) = self::member(btf, &ty, name)?;
        Some((member.bit_offset() + offset, inner))
    })
}

/// The type of `of`, without names and qualifiers before it.
fn plain_type(btf: &Btf, of: &dyn BtfType) -> Option<Type> {
    let mut ty = btf.resolve_chained_type(of).ok()?;
    while let Type::Typedef(_) | Type::Const(_) | Type::Volatile(_) = &ty {
        let chained: &dyn BtfType = ty.as_btf_type()?;
        ty = btf.resolve_chained_type(chained).ok()?;
    }
    Some(ty)
}
