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
struct Field {
    global: &'static str,
    structure: &'static str,
    /// Member names from the structure inwards, with dots between.
    path: &'static str,
}

/// The fields that the programs read, in fs/fuse/fuse_i.h, include/linux/io_uring_types.h, fs.h and
/// sched.h; ebpf/src/request.rs, changes.rs and programs/io_uring_complete.rs have the constants.
const FIELDS: [Field; 10] = [
    Field {
        global: "OFFSET_FUSE_REQ_FM",
        structure: "fuse_req",
        path: "fm",
    },
    Field {
        global: "OFFSET_FUSE_REQ_IN_OPCODE",
        structure: "fuse_req",
        path: "in.h.opcode",
    },
    Field {
        global: "OFFSET_FUSE_REQ_OUT_ERROR",
        structure: "fuse_req",
        path: "out.h.error",
    },
    Field {
        global: "OFFSET_FUSE_MOUNT_FC",
        structure: "fuse_mount",
        path: "fc",
    },
    Field {
        global: "OFFSET_FUSE_CONN_DEV",
        structure: "fuse_conn",
        path: "dev",
    },
    Field {
        global: "OFFSET_IO_RING_CTX_CACHED_CQ_TAIL",
        structure: "io_ring_ctx",
        path: "cached_cq_tail",
    },
    Field {
        global: "OFFSET_INODE_I_INO",
        structure: "inode",
        path: "i_ino",
    },
    Field {
        global: "OFFSET_INODE_I_SB",
        structure: "inode",
        path: "i_sb",
    },
    Field {
        global: "OFFSET_SUPER_BLOCK_S_DEV",
        structure: "super_block",
        path: "s_dev",
    },
    Field {
        global: "OFFSET_TASK_STRUCT_FLAGS",
        structure: "task_struct",
        path: "flags",
    },
];

/// The offsets of all fields, in bytes.
#[derive(Debug)]
pub struct Offsets([u32; FIELDS.len()]);

impl Offsets {
    /// Looks all fields up in the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the kernel has no BTF, or a structure lacks the field.
    pub fn of_running_kernel() -> Result<Self> {
        // Mapped, it is searched in 10 ms. A kernel older than 6.16 does not let it be mapped; read
        // and indexed, it takes 25 times as long.
        let btf = Btf::from_file_with_backend(KERNEL_BTF, Backend::Mmap)
            .or_else(|_| Btf::from_file(KERNEL_BTF))
            .map_err(|error| Error::Unsupported {
                what: format!("cannot read the kernel's types in {KERNEL_BTF}: {error}"),
                remedy: "the kernel must be built with CONFIG_DEBUG_INFO_BTF".to_owned(),
            })?;
        let mut offsets = [0; FIELDS.len()];
        for (offset, field) in offsets.iter_mut().zip(&FIELDS) {
            *offset = offset_of(&btf, field).ok_or_else(|| Error::Unsupported {
                what: format!(
                    "this kernel's struct {} has no {}",
                    field.structure, field.path
                ),
                remedy: "Linux 6.14 or newer is needed, with FUSE built in".to_owned(),
            })?;
        }
        Ok(Self(offsets))
    }

    /// Each constant of the eBPF object with the value it is to have.
    pub fn globals(&self) -> impl Iterator<Item = (&'static str, &u32)> {
        FIELDS.iter().map(|field| field.global).zip(&self.0)
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
